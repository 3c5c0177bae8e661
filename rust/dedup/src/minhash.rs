//! MinHash: texts of 20 KB become 14 numbers, of which similar texts share at least one.
//!
//! A text is the set of its word 5-grams, each a well-mixed 64-bit hash h. Slot k of the signature is the least
//! value of h's image under the k-th permutation. Two texts agree in a slot with probability J, the Jaccard
//! similarity of their sets; rows slots make a band, and with b bands of r rows
//!
//! ```text
//! P(some band agrees) = 1 - (1 - J^r)^b      14 x 8: .565 at J = .7, .924 at .8, .99962 at .9
//! ```
//!
//! Permutation k is x -> a_k x modulo 2^32 with a_k odd, of one half of h: even slots take the low half, odd slots
//! the high one. So all 64 bits count, while a register of 512 bits serves 16 slots. No term b_k is added, since a
//! shift of well-mixed hashes changes no probability: it would matter for h = 0 only, which then has the least image
//! under all permutations. The slots themselves are never kept, only a 64-bit key a band. Text becomes keys at
//! 900 MB/s a core, 380 with the sorted hashes that exact similarity needs.
//! Source: Broder 1997; bands after Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, 3.4.

use curate_text::hash;
use curate_text::{Cpu, Texts, Words};

use crate::sort::{Scratch, sort_distinct};
use crate::{Error, fss, mersenne, permute};

/// How the slots are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme<'a> {
    /// Independent permutations: the S-curve is exact.
    Classic,
    /// Fast similarity sketch (Dahlgaard, Knudsen, Thorup 2017): a slot a shingle, again until all are filled.
    Fss,
    /// (a h + b) mod 2^61 - 1, its low 32 bits, h the low 32 bits of a shingle: what the package of that name does.
    Datasketch {
        /// A factor a slot.
        a: &'a [u64],
        /// A term a slot.
        b: &'a [u64],
    },
}

/// What a signature depends on. Two signatures can be compared only where all of it is equal.
#[derive(Clone, Copy, Debug)]
pub struct Params<'a> {
    /// How the slots are filled.
    pub scheme: Scheme<'a>,
    /// Words in a shingle, 1 to 64.
    pub ngram: usize,
    /// Bands, 1 to 1024.
    pub bands: usize,
    /// Slots in a band, 1 to 1024.
    pub rows: usize,
    /// Any number: it chooses the permutations.
    pub seed: u64,
}

/// The band keys and the shingles of a column of texts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    /// `bands` keys a text; zeros for a text without shingles.
    pub keys: Vec<u64>,
    /// Whether a text has keys, which is whether it has at least `ngram` words.
    pub valid: Vec<bool>,
    /// Row i of the shingles is `shingles[offsets[i]..offsets[i + 1]]`; all rows are empty where none are wanted.
    pub offsets: Vec<i64>,
    /// The sorted distinct hashes of each text's word n-grams.
    pub shingles: Vec<u64>,
}

/// What is wanted beside the band keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shingles {
    /// The sorted distinct hashes of every text, for exact similarity: sorting them takes longer than signing.
    Sorted,
    /// Nothing. The least of hashes is the least of their set, so that they need not even be distinct.
    None,
}

/// Signs every text.
pub fn sign(
    texts: Texts<'_>,
    params: Params<'_>,
    wanted: Shingles,
    cpu: Cpu,
) -> Result<Signatures, Error> {
    check("ngram", params.ngram, 64)?;
    check("bands", params.bands, 1024)?;
    check("rows", params.rows, 1024)?;
    let mut sketch = Sketch::new(params)?;
    let (mut words, mut scratch) = (Words::new(cpu), Scratch::default());
    let (mut shingles, mut slots) = (Vec::new(), Vec::new());
    let used = params.bands * params.rows;
    let mut out = Signatures {
        offsets: vec![0],
        ..Signatures::default()
    };
    out.keys.reserve(texts.len() * params.bands);
    if wanted == Shingles::Sorted {
        // A word and its space take some six bytes.
        out.shingles.reserve(texts.total_bytes() / 6);
    }
    for row in 0..texts.len() {
        words.scan(row, texts.text(row)?)?;
        let ngrams = hash::ngrams(words.hashes(), params.ngram);
        let valid = ngrams.len() > 0;
        out.valid.push(valid);
        if !valid {
            out.keys.resize(out.keys.len() + params.bands, 0);
        } else {
            sketch.fill(cpu, ngrams.clone(), &mut slots);
            let bands = slots[..used].chunks_exact(params.rows);
            out.keys
                .extend(bands.enumerate().map(|(band, rows)| band_key(band, rows)));
        }
        if wanted == Shingles::Sorted {
            shingles.clear();
            shingles.extend(ngrams);
            sort_distinct(&mut shingles, &mut scratch);
            out.shingles.extend_from_slice(&shingles);
        }
        out.offsets.push(out.shingles.len() as i64);
    }
    Ok(out)
}

/// The least values of every slot over a set, by the chosen scheme.
#[derive(Debug)]
pub enum Sketch<'a> {
    /// See [`Scheme::Classic`].
    Classic(permute::Permutations),
    /// See [`Scheme::Fss`].
    Fss(fss::Rounds),
    /// See [`Scheme::Datasketch`].
    Datasketch(&'a [u64], &'a [u64]),
}

impl<'a> Sketch<'a> {
    /// The sketch of bands * rows slots.
    pub fn new(params: Params<'a>) -> Result<Self, Error> {
        check("slots", params.bands.saturating_mul(params.rows), 1 << 20)?;
        let slots = params.bands * params.rows;
        Ok(match params.scheme {
            Scheme::Classic => Self::Classic(permute::Permutations::new(slots, params.seed)),
            Scheme::Fss => Self::Fss(fss::Rounds::new(slots, params.seed)),
            Scheme::Datasketch { a, b } => {
                for (name, given) in [("a", a.len()), ("b", b.len())] {
                    if given != slots {
                        return Err(Error::LengthsDiffer {
                            name,
                            rows: given,
                            other: "the signature",
                            expected: slots,
                        });
                    }
                }
                Self::Datasketch(a, b)
            }
        })
    }

    /// Fills `slots`, of which the first bands * rows count.
    pub fn fill(&mut self, cpu: Cpu, set: impl Iterator<Item = u64> + Clone, slots: &mut Vec<u32>) {
        match self {
            Self::Classic(permutations) => permutations.minima(cpu, set, slots),
            Self::Fss(rounds) => rounds.fill(set, slots),
            Self::Datasketch(a, b) => mersenne::minima(cpu, a, b, set, slots),
        }
    }
}

fn check(name: &'static str, value: usize, max: usize) -> Result<(), Error> {
    if (1..=max).contains(&value) {
        Ok(())
    } else {
        Err(Error::OutOfRange {
            name,
            value,
            min: 1,
            max,
        })
    }
}

/// The key of a band: a hash of its number and its slots, two slots at a time.
fn band_key(band: usize, rows: &[u32]) -> u64 {
    let mut key = hash::finish(band as u64 + 1);
    for pair in rows.chunks(2) {
        let high = pair.get(1).copied().unwrap_or(0);
        key = hash::finish(key.rotate_left(23) ^ (u64::from(high) << 32 | u64::from(pair[0])));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_text::Offsets;
    use curate_text::hash::Stream;

    const PARAMS: Params<'_> = Params {
        scheme: Scheme::Classic,
        ngram: 5,
        bands: 14,
        rows: 8,
        seed: 1,
    };

    fn sign_all(texts: &[String], params: Params<'_>, cpu: Cpu) -> Signatures {
        let bytes = texts.concat();
        let mut offsets = vec![0_i64];
        texts
            .iter()
            .for_each(|text| offsets.push(offsets[offsets.len() - 1] + text.len() as i64));
        let column = Texts::new(Offsets::Large(&offsets), bytes.as_bytes());
        let signed = sign(column, params, Shingles::Sorted, cpu).unwrap();
        let bare = sign(column, params, Shingles::None, cpu).unwrap();
        assert_eq!((&bare.keys, &bare.valid), (&signed.keys, &signed.valid));
        assert!(bare.shingles.is_empty() && bare.offsets.len() == texts.len() + 1);
        signed
    }

    fn text(stream: &mut Stream, words: usize) -> String {
        (0..words)
            .map(|_| format!("w{} ", stream.next_u64() % 10_000))
            .collect()
    }

    #[test]
    fn every_path_gives_the_same_bytes() {
        let mut stream = Stream::new(3);
        let mut texts: Vec<_> = [0, 4, 5, 6, 100, 1000]
            .iter()
            .map(|&n| text(&mut stream, n))
            .collect();
        texts.push("the same five words again ".repeat(90));
        for (bands, rows) in [(14, 8), (1, 1), (20, 13), (5, 5), (9, 13)] {
            let params = Params {
                bands,
                rows,
                ..PARAMS
            };
            let expected = sign_all(&texts, params, Cpu::all()[0]);
            assert_eq!(expected.keys.len(), texts.len() * bands);
            assert_eq!(expected.valid, [false, false, true, true, true, true, true]);
            Cpu::all()
                .into_iter()
                .for_each(|cpu| assert_eq!(sign_all(&texts, params, cpu), expected));
        }
    }

    /// Keys are stored: these numbers may not change.
    #[test]
    fn vectors_never_change() {
        let keys = sign_all(
            &["one two three four five six".into()],
            PARAMS,
            Cpu::all()[0],
        )
        .keys;
        assert_eq!(keys[..3], VECTORS);
    }

    const VECTORS: [u64; 3] = [
        11_384_998_004_809_209_307,
        8_069_316_081_476_612_148,
        10_606_511_242_391_954_271,
    ];

    /// Pairs of sets with a known J meet in some band as often as the formula says: 1,000 pairs a point,
    /// four sigma. Sets of 2 to 400 distinct random shingles stand in for texts.
    #[test]
    fn bands_follow_the_s_curve() {
        let mut stream = Stream::new(11);
        let mut sketch = Sketch::new(PARAMS).unwrap();
        for (union, shared) in [
            (400, 240),
            (400, 280),
            (400, 320),
            (400, 360),
            (20, 16),
            (10, 7),
            (60, 48),
        ] {
            let jaccard = shared as f64 / union as f64;
            let mut met = 0;
            let trials = 1000;
            for _ in 0..trials {
                let pool: Vec<u64> = (0..union).map(|_| stream.next_u64()).collect();
                let only = (union - shared) / 2;
                let mut keys = |set: &[u64]| {
                    let mut slots = Vec::new();
                    sketch.fill(Cpu::all()[0], set.iter().copied(), &mut slots);
                    slots[..112]
                        .chunks_exact(8)
                        .enumerate()
                        .map(|(b, r)| band_key(b, r))
                        .collect::<Vec<_>>()
                };
                let a = keys(&pool[..shared + only]);
                let b = keys(&[&pool[..shared], &pool[shared + only..]].concat());
                met += usize::from(a.iter().zip(&b).any(|(x, y)| x == y));
            }
            let expected = 1.0 - (1.0 - jaccard.powi(8)).powi(14);
            let sigma = (expected * (1.0 - expected) / f64::from(trials)).sqrt();
            let seen = met as f64 / f64::from(trials);
            assert!(
                (seen - expected).abs() < 4.0 * sigma + 0.002,
                "J {jaccard}: {seen} for {expected}"
            );
        }
    }
}
