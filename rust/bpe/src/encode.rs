//! Encoding: split, look the piece up, merge only what is new; decoding: put the bytes together again.
//!
//! Pieces come in batches of a hundred, so that the cache lines of all are on their way before the first is needed, and
//! few loops end where it cannot be foreseen.
//! Text never encodes to a special token, whatever it says; the caller appends them. Tokens that were added to a
//! vocabulary without being special are found in the text before it is split, the longest of those that begin first.

use crate::cache::Cache;
use crate::ids::TokenId;
use crate::look::{Looks, View};
use crate::merge::{MergeScratch, Merges};
use crate::normal::{Added, Finder, Normal};
use crate::piece::{INLINE, TokenIndex, Vocab};
use crate::pretokenize::{BATCH, Sink};
use crate::short::{Found, MOST_IDS, equal, equal_avx2, find};
use crate::window::WIDTH;
use crate::{Error, Pretokenizer};
use curate_text::cpu::Path;
use std::borrow::Cow;

/// The parts of a model.
#[derive(Default)]
pub struct Parts<'a> {
    /// Every token by id; one without bytes is a hole in the numbering.
    pub vocab: Vocab,
    /// The left halves of the merges by rank.
    pub left: &'a [u32],
    /// The right halves.
    pub right: &'a [u32],
    /// Tokens that no text becomes.
    pub special_ids: &'a [u32],
    /// A piece that is a token as a whole becomes that token whatever the merges say, as in files of Llama 3.
    pub ignore_merges: bool,
    /// The tokens of the 256 bytes where merges begin with characters; a character without a token becomes them.
    pub byte_ids: Option<&'a [u32; 256]>,
    /// What happens to a text before it is split.
    pub normal: Normal,
    /// Tokens that are found in the text before it is split; those that merges cannot make stand in `special_ids` too.
    pub added: &'a [Added],
}

/// An exact BPE encoder; immutable, so that threads may share it.
pub struct Encoder {
    vocab: Vocab,
    index: TokenIndex,
    merges: Merges,
    pretokenizer: Pretokenizer,
    ignore_merges: bool,
    normal: Option<Normal>,
    /// Finders before and after `normal`, where tokens were added.
    added: Option<[Option<Finder>; 2]>,
    /// Tokens that every cache begins with.
    whole: Vec<u32>,
}

/// What one thread needs while it encodes: the cache of pieces and memory for merging.
pub struct EncodeScratch<T: TokenId> {
    known: Known<T>,
    looks: Looks,
}

/// The cache, and what pieces are merged in that are not there.
struct Known<T: TokenId> {
    cache: Cache<T>,
    merge: MergeScratch,
    ids: Vec<u32>,
}

/// Tokens that a cache begins with at most, so that opening an encoder stays short.
const WHOLE: usize = 1 << 16;

impl Encoder {
    /// Puts a model together; an error says which merge or byte the vocabulary lacks.
    pub fn new(parts: Parts<'_>, pretokenizer: Pretokenizer) -> Result<Self, Error> {
        let finder = |normalized| Finder::new(parts.added, &parts.normal, normalized);
        let added = [finder(false)?, finder(true)?];
        let vocab = parts.vocab;
        let mut is_text = vec![true; vocab.len()];
        for &id in parts
            .special_ids
            .iter()
            .chain(parts.byte_ids.into_iter().flatten())
        {
            *is_text.get_mut(id as usize).ok_or(Error::TokenId {
                id,
                position: 0,
                vocab_size: vocab.len(),
            })? = false;
        }
        if let Some(added) = parts.added.iter().find(|a| a.id as usize >= vocab.len()) {
            return Err(Error::TokenId {
                id: added.id,
                position: 0,
                vocab_size: vocab.len(),
            });
        }
        let mut index = TokenIndex::with_capacity(vocab.len());
        for (id, _) in (0u32..).zip(&is_text).filter(|(_, is_text)| **is_text) {
            if !vocab.token(id).is_empty() {
                index.insert(&vocab, id);
            }
        }
        let cpu = pretokenizer.cpu();
        let merges = Merges::new(cpu, &vocab, &index, parts.left, parts.right, parts.byte_ids)?;
        let Normal {
            nfc, space, prefix, ..
        } = &parts.normal;
        let changes = *nfc || space.is_some() || prefix.is_some();
        let mut encoder = Self {
            vocab,
            index,
            merges,
            pretokenizer,
            ignore_merges: parts.ignore_merges,
            normal: changes.then_some(parts.normal),
            added: added.iter().any(Option::is_some).then_some(added),
            whole: Vec::new(),
        };
        encoder.whole = encoder.whole_tokens();
        Ok(encoder)
    }

    /// Up to [`WHOLE`] short tokens that a piece of their text becomes, which not every token is: merges may take other
    /// ways. Those of small ids come first, which training found to be most frequent.
    fn whole_tokens(&self) -> Vec<u32> {
        let (mut scratch, mut ids) = (MergeScratch::default(), Vec::new());
        let is_whole = |&id: &u32| {
            let token = self.vocab.token(id);
            if token.len() > INLINE || std::str::from_utf8(token).is_err() {
                return false;
            }
            ids.clear();
            self.merge(token, &mut scratch, &mut ids);
            ids == [id]
        };
        let all = 0..self.vocab.len() as u32;
        all.filter(is_whole).take(WHOLE).collect()
    }

    /// What one thread needs, with the ids of whole tokens known.
    pub fn scratch<T: TokenId>(&self) -> EncodeScratch<T> {
        let mut cache = Cache::default();
        for &id in &self.whole {
            cache.put(self.vocab.token(id), &[T::from_id(id)]);
        }
        EncodeScratch {
            known: Known {
                cache,
                merge: MergeScratch::default(),
                ids: Vec::new(),
            },
            looks: Looks::default(),
        }
    }

    /// Appends the ids of a piece that is not remembered.
    fn merge(&self, piece: &[u8], scratch: &mut MergeScratch, ids: &mut Vec<u32>) {
        let whole = match self.ignore_merges {
            true => self.index.find(&self.vocab, piece),
            false => None,
        };
        match whole {
            Some(id) => ids.push(id),
            None => self.merges.encode(piece, scratch, ids),
        }
    }

    /// How many ids there are.
    pub fn vocab_size(&self) -> usize {
        self.vocab.len()
    }

    /// Appends the ids of a text to `out`.
    pub fn encode<T: TokenId>(
        &self,
        text: &str,
        scratch: &mut EncodeScratch<T>,
        out: &mut Vec<T>,
    ) -> Result<(), Error> {
        let Some([before, after]) = &self.added else {
            return self.encode_normal(&self.normal(text), scratch, out);
        };
        Finder::split(before.as_ref(), text, |text, token| {
            Finder::split(after.as_ref(), &self.normal(text), |text, token| {
                self.encode_normal(text, scratch, out)?;
                out.extend(token.map(T::from_id));
                Ok(())
            })?;
            out.extend(token.map(T::from_id));
            Ok(())
        })
    }

    fn normal<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let normal = self.normal.as_ref();
        normal.map_or(Cow::Borrowed(text), |normal| normal.apply(text))
    }

    fn encode_normal<T: TokenId>(
        &self,
        text: &str,
        scratch: &mut EncodeScratch<T>,
        out: &mut Vec<T>,
    ) -> Result<(), Error> {
        let EncodeScratch { known, looks } = scratch;
        let encoding = Encoding {
            encoder: self,
            path: self.pretokenizer.cpu().path(),
            text: text.as_bytes(),
            view: known.cache.short.view(),
            known,
            looks,
            out,
        };
        self.pretokenizer.split_into(text, encoding)
    }

    /// Appends the bytes of the ids to `out`; special tokens are written as their text.
    pub fn decode(
        &self,
        ids: impl IntoIterator<Item = u32>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let start = out.len();
        for (position, id) in ids.into_iter().enumerate() {
            if id as usize >= self.vocab.len() || self.vocab.token(id).is_empty() {
                return Err(Error::TokenId {
                    id,
                    position,
                    vocab_size: self.vocab.len(),
                });
            }
            out.extend_from_slice(self.vocab.token(id));
        }
        if let Some(normal) = &self.normal {
            normal.undo(out, start);
        }
        Ok(())
    }
}

/// A text on its way to ids.
struct Encoding<'a, T: TokenId> {
    encoder: &'a Encoder,
    path: Path,
    text: &'a [u8],
    known: &'a mut Known<T>,
    view: View,
    looks: &'a mut Looks,
    out: &'a mut Vec<T>,
}

impl<T: TokenId> Sink for Encoding<'_, T> {
    #[inline(always)]
    fn window(&mut self, nth: usize, window: &[u8; WIDTH], found: u64) {
        #[cfg(target_arch = "x86_64")]
        if self.path == Path::Avx512 {
            // SAFETY: a pretokenizer's `Cpu` of this path proves that the machine has these instructions.
            unsafe { self.looks.of_window(nth, self.view, window, found) };
        }
    }

    #[inline(always)]
    fn piece(&mut self, nth: usize, start: usize, end: usize) {
        if self.path == Path::Avx512 {
            self.look(nth, start, end);
        }
    }

    #[inline(always)]
    fn batch(&mut self, start: usize, ends: &[usize]) {
        match self.path {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Cpu` of either path proves that the machine has AVX2.
            Path::Avx2 | Path::Avx512 => unsafe { self.batch_avx2(start, ends) },
            _ => self.batch_by(start, ends, equal),
        }
        self.view = self.known.cache.short.view();
    }
}

impl<T: TokenId> Encoding<'_, T> {
    /// Prepares the look-up of the nth piece.
    #[inline(always)]
    fn look(&mut self, nth: usize, start: usize, end: usize) {
        if end - start <= INLINE {
            self.looks.short(nth, self.view, self.text, start, end);
        } else {
            let hash = self.known.cache.prefetch_longer(self.text, start, end);
            self.looks.long(nth, hash);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn batch_avx2(&mut self, start: usize, ends: &[usize]) {
        let equal = |lanes: &[u8; 32], keys: &[u64; 2]| equal_avx2(lanes, keys);
        self.batch_by(start, ends, equal);
    }

    /// Prepares the look-ups of a batch that are not yet prepared.
    #[inline(always)]
    fn look_at_all(&mut self, start: usize, ends: &[usize]) {
        if self.path == Path::Avx512 {
            let cache = &self.known.cache;
            self.looks.hash_longer(|nth| {
                let start = if nth == 0 { start } else { ends[nth - 1] };
                cache.prefetch_longer(self.text, start, ends[nth])
            });
            return;
        }
        let mut from = start;
        for (nth, &end) in ends.iter().enumerate() {
            self.look(nth, from, end);
            from = end;
        }
    }

    /// Appends the ids of a batch. A row of the cache is copied whole, the surplus overwritten by what comes next:
    /// no branch on the number of ids.
    #[inline(always)]
    fn batch_by(
        &mut self,
        start: usize,
        ends: &[usize],
        equal: impl Fn(&[u8; 32], &[u64; 2]) -> u32,
    ) {
        self.look_at_all(start, ends);
        let room = MOST_IDS * BATCH;
        self.out.reserve(room);
        let (mut to, mut n_ids) = (self.out.as_mut_ptr(), self.out.len());
        let (mut lines, mut many) = self.known.cache.short.parts();
        for nth in 0..ends.len() {
            match find(lines, many, &self.looks.get(nth), &equal) {
                Some(Found::Few(ids, count)) => {
                    // SAFETY: there is room for [`MOST_IDS`] of each piece of the batch from `n_ids` on.
                    unsafe { to.add(n_ids).cast::<[u8; 16]>().write_unaligned(*ids) };
                    n_ids += count;
                }
                Some(Found::Many(ids, count)) => {
                    // SAFETY: as above.
                    unsafe { to.add(n_ids).cast::<[T; MOST_IDS]>().write_unaligned(*ids) };
                    n_ids += count;
                }
                None => {
                    let start = if nth == 0 { start } else { ends[nth - 1] };
                    // SAFETY: all ids up to here were written.
                    unsafe { self.out.set_len(n_ids) };
                    self.append_beyond(nth, start, ends[nth]);
                    self.out.reserve(room);
                    (to, n_ids) = (self.out.as_mut_ptr(), self.out.len());
                    (lines, many) = self.known.cache.short.parts();
                }
            }
        }
        // SAFETY: as above.
        unsafe { self.out.set_len(n_ids) };
    }

    /// A piece that its line of the table of short pieces does not know, or that is longer.
    #[inline(never)]
    fn append_beyond(&mut self, nth: usize, start: usize, end: usize) {
        let cache = &mut self.known.cache;
        let look = self.looks.get(nth);
        if end - start <= INLINE {
            if let Some(found) = cache.short.find_beside(&look) {
                return found.append(self.out);
            }
        } else if let Some((row, count)) = cache.medium(self.text, start, end, look.keys[0]) {
            let to = self.out.spare_capacity_mut().as_mut_ptr();
            // SAFETY: there is room for a row, and so many of its ids count.
            unsafe {
                to.cast::<T::Several>().write_unaligned(*row);
                self.out.set_len(self.out.len() + count);
            }
            return;
        } else if let Some(ids) = cache.longer(&self.text[start..end], look.keys[0]) {
            return self.out.extend_from_slice(ids);
        }
        self.append_new(&self.text[start..end]);
    }

    /// A piece that is not known.
    #[inline(never)]
    fn append_new(&mut self, piece: &[u8]) {
        let Known { cache, merge, ids } = &mut *self.known;
        ids.clear();
        self.encoder.merge(piece, merge, ids);
        let from = self.out.len();
        self.out.extend(ids.iter().map(|&id| T::from_id(id)));
        cache.put(piece, &self.out[from..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PieceCounter;
    use crate::train::{TrainOptions, train};
    use curate_text::Cpu;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    fn encoder(pattern: &str) -> Encoder {
        encoder_on(pattern, Cpu::at_most(Path::Avx512))
    }

    fn encoder_on(pattern: &str, cpu: Cpu) -> Encoder {
        let open = || Pretokenizer::new(pattern).expect("valid").on(cpu);
        let mut counter = PieceCounter::new();
        let text = "The cat sat on the mat; the cats' mats are 12 34 flat. Кот сидел на мате. 猫坐在垫子上。\n";
        counter
            .add_text(&open(), &text.repeat(3))
            .expect("no error");
        let special_tokens = vec!["<|endoftext|>".to_owned()];
        let options = TrainOptions {
            vocab_size: 300,
            special_tokens: &special_tokens,
            ..TrainOptions::default()
        };
        let model = train(counter.finish().iter(), &options).expect("trains");
        let parts = Parts {
            vocab: model.vocab,
            left: &model.left,
            right: &model.right,
            special_ids: &[0],
            ..Parts::default()
        };
        Encoder::new(parts, open()).expect("a model")
    }

    /// One of each pattern for the instructions of each path.
    static ENCODERS: LazyLock<Vec<Encoder>> = LazyLock::new(|| {
        let patterns = ["gpt2", "gpt4", "o200k", r"\p{L}+(?=\s)"];
        let on = |cpu| patterns.map(|pattern| encoder_on(pattern, cpu));
        Cpu::all().into_iter().flat_map(on).collect()
    });

    proptest! {
        #[test]
        fn decoding_gives_the_text_back(texts in proptest::collection::vec(any::<String>(), 1..8)) {
            for encoder in ENCODERS.iter() {
                let mut scratch = encoder.scratch();
                for text in texts.iter().chain(&texts) {
                    let (mut ids, mut bytes) = (Vec::<u32>::new(), Vec::new());
                    encoder.encode(text, &mut scratch, &mut ids).expect("no error");
                    encoder.decode(ids, &mut bytes).expect("known ids");
                    prop_assert_eq!(&bytes, text.as_bytes());
                }
            }
        }
    }

    proptest! {
        /// Whole tokens known from the first, pieces met before, pieces of all three tables: the ids of the merges.
        #[test]
        fn what_is_remembered_is_what_merges_give(texts in proptest::collection::vec(
            "([Tt]he cats?|mats?|сидел|猫坐在垫子上|\\PC{0,40}|[a-e]{1,300}|[ \n]{1,3}){1,30}", 1..6)
        ) {
            for encoder in ENCODERS.iter() {
                let (mut scratch, mut merge) = (encoder.scratch(), MergeScratch::default());
                for text in texts.iter().chain(&texts) {
                    let (mut ids, mut expected) = (Vec::<u16>::new(), Vec::new());
                    encoder.encode(text, &mut scratch, &mut ids).expect("no error");
                    let by_merges = |mut start: usize, ends: &[usize]| for &end in ends {
                        encoder.merges.encode(&text.as_bytes()[start..end], &mut merge, &mut expected);
                        start = end;
                    };
                    encoder.pretokenizer.split(text, by_merges).expect("no error");
                    prop_assert_eq!(ids.into_iter().map(u32::from).collect::<Vec<_>>(), expected);
                }
            }
        }
    }

    #[test]
    fn a_token_that_no_merge_makes_is_not_found_whole() {
        let mut vocab = Vocab::default();
        (0u8..=255).for_each(|byte| _ = vocab.push(&[byte]));
        // "ab" and "bc" are made; "abc" is not, for "ab" comes first and has no merge with "c".
        let [made, _, lost] = [b"ab".as_slice(), b"bc", b"abc"].map(|token| vocab.push(token));
        let (a, b, c) = (u32::from(b'a'), u32::from(b'b'), u32::from(b'c'));
        let encode = |ignore_merges| {
            let parts = Parts {
                vocab: vocab.clone(),
                left: &[a, b, a],
                right: &[b, c, 257],
                ignore_merges,
                ..Parts::default()
            };
            let pretokenizer = Pretokenizer::new("gpt2").expect("valid");
            let encoder = Encoder::new(parts, pretokenizer).expect("a model");
            let mut ids = Vec::<u32>::new();
            let mut scratch = encoder.scratch();
            encoder
                .encode("abc", &mut scratch, &mut ids)
                .expect("no error");
            ids
        };
        assert_eq!(encode(false), [made, c]);
        assert_eq!(encode(true), [lost]);
    }

    proptest! {
        /// The Python layer passes on nothing but UTF-8, but the merge must stand any bytes.
        #[test]
        fn pieces_of_any_bytes_decode_to_themselves(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            let encoder = &ENCODERS[0];
            let (mut ids, mut decoded) = (Vec::new(), Vec::new());
            encoder.merges.encode(&bytes, &mut MergeScratch::default(), &mut ids);
            encoder.decode(ids, &mut decoded).expect("known ids");
            prop_assert_eq!(decoded, bytes);
        }
    }

    #[test]
    fn a_special_token_in_the_text_is_text() {
        for pattern in ["gpt2", "(?s).+"] {
            let mut ids = Vec::<u16>::new();
            let text = "<|endoftext|>".repeat(3);
            let encoder = encoder(pattern);
            encoder
                .encode(&text, &mut encoder.scratch(), &mut ids)
                .expect("no error");
            assert!(!ids.is_empty() && !ids.contains(&0));
        }
    }

    #[test]
    fn an_unknown_id_is_named() {
        let error = encoder("gpt2")
            .decode([1, 2, 99_999], &mut Vec::new())
            .expect_err("unknown");
        assert_eq!(
            error,
            Error::TokenId {
                id: 99_999,
                position: 2,
                vocab_size: 300
            }
        );
    }
}
