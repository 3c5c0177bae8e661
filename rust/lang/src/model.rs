//! The model as one file: what `prepare` makes of py3langid's arrays, and what a worker reads in 20 ms.

use curate_text::hash::hash_bytes;

use crate::Error;
use crate::automaton::{Automaton, Dense, State};

/// The most languages that a model may have: a row of weights is this wide.
pub const WIDTH: usize = 144;
/// Weights are whole numbers of 1 / SCALE.
pub const SCALE: f64 = 512.0;
const MAGIC: &[u8; 16] = b"curate-lang 1\n\0\0";

/// The weights of one n-gram, a language each; the languages that the model does not have weigh 0.
pub type Row = [i16; WIDTH];

/// A model that is ready for use, about 32 MB.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The languages; several columns may stand for one.
    pub labels: Vec<String>,
    /// The log probability of each language before the text is seen.
    pub priors: Vec<f32>,
    /// The weights of every n-gram.
    pub weights: Vec<Row>,
    /// What finds the n-grams.
    pub automaton: Automaton,
}

/// The arrays of py3langid's model file, as they stand there.
pub struct Arrays<'a> {
    /// `classes`: the languages.
    pub labels: Vec<String>,
    /// `pc`: one prior a language.
    pub priors: &'a [f32],
    /// `ptc`: the bits of 16-bit floats, n-gram after n-gram.
    pub weights: &'a [u16],
    /// `nextmove`: the distinct rows of the automaton, 256 states each.
    pub rows: &'a [u32],
    /// `nextmove_row`: the row of each state.
    pub row: &'a [u32],
    /// `out_feat`: the n-gram that ends in each state, -1 for none.
    pub feature: &'a [i32],
}

/// The file of a model, from the arrays of py3langid.
///
/// Errors name what does not fit: arrays of other lengths, more than [`WIDTH`] languages, a weight that is no multiple
/// of 1/512 or whose sum over all n-grams could pass 32 bits, an automaton of another kind.
pub fn prepare(arrays: &Arrays<'_>) -> Result<Vec<u8>, Error> {
    let wrong = |what: String| Err(Error::Model(what));
    let languages = arrays.labels.len();
    let features = arrays.weights.len() / languages.max(1);
    if languages == 0 || languages > WIDTH || arrays.priors.len() != languages {
        return wrong(format!("{languages} languages, of 1 to {WIDTH}"));
    }
    let states = arrays.row.len();
    let rows = arrays.rows.len() / 256;
    let fits = arrays.weights.len() == features * languages
        && arrays.rows.len() == rows * 256
        && states > 0
        && arrays.feature.len() == states
        && arrays.row.iter().all(|&row| (row as usize) < rows)
        && arrays.rows.iter().all(|&state| (state as usize) < states)
        && arrays.feature.iter().all(|&f| f < features as i32);
    if !fits {
        return wrong("its arrays do not fit together".into());
    }
    let automaton = Automaton::build(
        &Dense {
            rows: arrays.rows,
            row: arrays.row,
            feature: arrays.feature,
        },
        features,
    )?;
    let mut weights = vec![[0i16; WIDTH]; features];
    for (row, bits) in weights
        .iter_mut()
        .zip(arrays.weights.chunks_exact(languages))
    {
        for (weight, &bits) in row.iter_mut().zip(bits) {
            let whole = half(bits) * SCALE;
            // Sums over all n-grams stay within 32 bits, so that they are exact.
            if whole.fract() != 0.0 || whole.abs() * features as f64 > f64::from(i32::MAX) {
                return wrong(format!("a weight of {} among its weights", half(bits)));
            }
            *weight = whole as i16;
        }
    }
    Ok(Model {
        labels: arrays.labels.clone(),
        priors: arrays.priors.to_vec(),
        weights,
        automaton,
    }
    .write())
}

/// The value of a 16-bit float; infinite and undefined ones become numbers that no weight may have.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -size } else { size }
}

impl Model {
    /// magic, six counts, labels, priors, root, states, weights, checksum: all numbers little-endian.
    pub(crate) fn write(&self) -> Vec<u8> {
        let labels = self.labels.join(",");
        let (root, states) = self.automaton.parts();
        let counts = [
            self.labels.len(),
            self.weights.len(),
            states.len(),
            self.automaton.depth(),
            labels.len(),
            0,
        ];
        let mut file = MAGIC.to_vec();
        file.extend(
            counts
                .iter()
                .flat_map(|&count| (count as u32).to_le_bytes()),
        );
        file.extend(labels.as_bytes());
        file.extend(self.priors.iter().flat_map(|prior| prior.to_le_bytes()));
        file.extend(root.iter().flat_map(|state| state.to_le_bytes()));
        for state in states {
            let numbers = [state.base, state.fail, state.feature, state.label];
            file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        file.extend(
            self.weights
                .as_flattened()
                .iter()
                .flat_map(|w| w.to_le_bytes()),
        );
        let sum = hash_bytes(&file);
        file.extend(sum.to_le_bytes());
        file
    }

    /// The model in a file that `prepare` made; an error for any other bytes.
    pub fn read(file: &[u8]) -> Result<Self, Error> {
        let damaged = || Error::Model("its file is damaged, or of another version".into());
        let (body, sum) = file.split_last_chunk::<8>().ok_or_else(damaged)?;
        if !body.starts_with(MAGIC) || u64::from_le_bytes(*sum) != hash_bytes(body) {
            return Err(damaged());
        }
        let mut rest = &body[MAGIC.len()..];
        let mut take = |bytes: usize| {
            let (taken, after) = rest.split_at_checked(bytes).ok_or_else(damaged)?;
            rest = after;
            Ok::<_, Error>(taken)
        };
        let counts = numbers(take(24)?);
        let [languages, features, slots, depth, letters] =
            [0, 1, 2, 3, 4].map(|i| counts[i] as usize);
        let names = std::str::from_utf8(take(letters)?).map_err(|_| damaged())?;
        let labels: Vec<String> = names.split(',').map(str::to_string).collect();
        let priors = numbers(take(languages * 4)?)
            .into_iter()
            .map(f32::from_bits)
            .collect();
        let root = numbers(take(1024)?);
        let fields = numbers(take(slots * 16)?);
        let (fields, _) = fields.as_chunks::<4>();
        let states = fields.iter().map(|&[base, fail, feature, label]| State {
            base,
            fail,
            feature,
            label,
        });
        let automaton = Automaton::new(root, states.collect(), depth, features)?;
        let mut weights = vec![[0i16; WIDTH]; features];
        let (bytes, _) = take(features * WIDTH * 2)?.as_chunks::<2>();
        for (weight, bytes) in weights.as_flattened_mut().iter_mut().zip(bytes) {
            *weight = i16::from_le_bytes(*bytes);
        }
        if labels.len() != languages || languages > WIDTH || !rest.is_empty() {
            return Err(damaged());
        }
        Ok(Self {
            labels,
            priors,
            weights,
            automaton,
        })
    }
}

fn numbers(bytes: &[u8]) -> Vec<u32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| u32::from_le_bytes(*word)).collect()
}
