//! Encoding: split, look the piece up, merge only what is new; decoding: put the bytes together again.
//!
//! Pieces come in batches of 32, so that the cache lines of all are on their way before the first is needed.
//! Text never encodes to a special token, whatever it says; the caller appends them. Tokens that were added to a
//! vocabulary without being special are found in the text before it is split, the longest of those that begin first.

use crate::cache::{
    Cache, Key, MEDIUM, TokenId, count_of, hash_medium, medium_key, short_key, which, which_avx2,
};
use crate::merge::{MergeScratch, Merges};
use crate::piece::{INLINE, TokenIndex, Vocab};
use crate::pretokenize::BATCH;
use crate::{Error, Pretokenizer};
use aho_corasick::{AhoCorasick, MatchKind};
use curate_text::cpu::Path;
use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization;

/// What happens to a text before it is split.
#[derive(Debug, Clone, Default)]
pub struct Normal {
    /// Compose characters (NFC).
    pub nfc: bool,
    /// What stands for a space.
    pub space: Option<String>,
    /// What every text that is not empty begins with.
    pub prefix: Option<String>,
    /// The prefix is left out where the text begins with it already.
    pub prefix_once: bool,
}

impl Normal {
    fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        if self.nfc {
            text = Cow::Owned(text.nfc().collect());
        }
        if let Some(mark) = &self.space {
            text = Cow::Owned(text.replace(' ', mark));
        }
        if let Some(prefix) = &self.prefix
            && !text.is_empty()
            && !(self.prefix_once && text.starts_with(prefix.as_str()))
        {
            text = Cow::Owned(format!("{prefix}{text}"));
        }
        text
    }

    /// Takes back, in what was decoded, what `apply` did to spaces.
    fn undo(&self, out: &mut Vec<u8>, start: usize) {
        let (Some(mark), Ok(text)) = (&self.space, std::str::from_utf8(&out[start..])) else {
            return;
        };
        let mut text = text.replace(mark.as_str(), " ");
        if self.prefix.is_some() && text.starts_with(' ') {
            text.remove(0);
        }
        out.truncate(start);
        out.extend_from_slice(text.as_bytes());
    }
}

/// A token that was added to a vocabulary and stands for its text wherever that occurs.
#[derive(Debug, Clone)]
pub struct Added {
    /// What it stands for.
    pub text: String,
    /// Its number.
    pub id: u32,
    /// It is looked for after `Normal` was applied, not before.
    pub normalized: bool,
}

/// Finds added tokens.
struct Finder {
    texts: AhoCorasick,
    ids: Vec<u32>,
}

impl Finder {
    /// A finder of those of `added` that are looked for at this point; None where there are none.
    fn new(parts: &Parts<'_>, normalized: bool) -> Result<Option<Self>, Error> {
        let chosen: Vec<&Added> = parts
            .added
            .iter()
            .filter(|added| added.normalized == normalized)
            .collect();
        if chosen.is_empty() {
            return Ok(None);
        }
        let text = |added: &&Added| match normalized {
            true => parts.normal.apply(&added.text).into_owned(),
            false => added.text.clone(),
        };
        let texts = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(chosen.iter().map(text))
            .map_err(|error| Error::Model(format!("its added tokens cannot be found: {error}")))?;
        let ids = chosen.iter().map(|added| added.id).collect();
        Ok(Some(Self { texts, ids }))
    }

    /// Calls `found` with the text before each added token and the token, then with what is left and None.
    fn split(
        finder: Option<&Self>,
        text: &str,
        mut found: impl FnMut(&str, Option<u32>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut at = 0;
        if let Some(finder) = finder {
            for token in finder.texts.find_iter(text) {
                let id = finder.ids[token.pattern().as_usize()];
                found(&text[at..token.start()], Some(id))?;
                at = token.end();
            }
        }
        found(&text[at..], None)
    }
}

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
}

/// What one thread needs while it encodes: the cache of pieces and memory for merging.
pub struct EncodeScratch<T: TokenId> {
    cache: Cache<T>,
    merge: MergeScratch,
    ids: Vec<u32>,
    batch: Batch,
}

/// The pieces of a batch.
struct Batch {
    /// Of those of up to [`INLINE`] bytes.
    keys: [Key; BATCH],
    /// The lines of the cache where they may be; the hash of a longer piece.
    places: [usize; BATCH],
}

/// Ids that a look-up copies at most: 32 bytes of them.
const MOST_IDS: usize = 16;

impl<T: TokenId> Default for EncodeScratch<T> {
    fn default() -> Self {
        Self {
            cache: Cache::default(),
            merge: MergeScratch::default(),
            ids: Vec::new(),
            batch: Batch {
                keys: [[0; 2]; BATCH],
                places: [0; BATCH],
            },
        }
    }
}

impl Encoder {
    /// Puts a model together; an error says which merge or byte the vocabulary lacks.
    pub fn new(parts: Parts<'_>, pretokenizer: Pretokenizer) -> Result<Self, Error> {
        let added = [Finder::new(&parts, false)?, Finder::new(&parts, true)?];
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
        let merges = Merges::new(&vocab, &index, parts.left, parts.right, parts.byte_ids)?;
        let Normal {
            nfc, space, prefix, ..
        } = &parts.normal;
        let changes = *nfc || space.is_some() || prefix.is_some();
        Ok(Self {
            vocab,
            index,
            merges,
            pretokenizer,
            ignore_merges: parts.ignore_merges,
            normal: changes.then_some(parts.normal),
            added: added.iter().any(Option::is_some).then_some(added),
        })
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
        let bytes = text.as_bytes();
        match self.pretokenizer.cpu().path() {
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 | Path::Avx512 => self.pretokenizer.split(text, |start, ends| {
                // SAFETY: a `Cpu` of either path proves that the machine has AVX2.
                unsafe { self.batch_avx2(bytes, start, ends, scratch, out) }
            }),
            _ => self.pretokenizer.split(text, |start, ends| {
                self.batch(bytes, start, ends, scratch, out, which);
            }),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn batch_avx2<T: TokenId>(
        &self,
        text: &[u8],
        start: usize,
        ends: &[usize],
        scratch: &mut EncodeScratch<T>,
        out: &mut Vec<T>,
    ) {
        let which = |keys: &[Key; 2], key: &Key| which_avx2(keys, key);
        self.batch(text, start, ends, scratch, out, which);
    }

    /// Appends the ids of a batch. A row of the cache is copied whole, the surplus overwritten by what comes next:
    /// no branch on the number of ids.
    #[inline(always)]
    fn batch<T: TokenId>(
        &self,
        text: &[u8],
        mut start: usize,
        ends: &[usize],
        scratch: &mut EncodeScratch<T>,
        out: &mut Vec<T>,
        which: impl Fn(&[Key; 2], &Key) -> usize,
    ) {
        let EncodeScratch { cache, batch, .. } = scratch;
        let mut from = start;
        for ((&end, key), place) in ends.iter().zip(&mut batch.keys).zip(&mut batch.places) {
            if end - from <= INLINE {
                *key = short_key(text, from, end);
                *place = cache.prefetch_short(key);
            } else if end - from <= MEDIUM {
                let hash = hash_medium(&medium_key(text, from, end));
                cache.prefetch_medium(hash);
                *place = hash as usize;
            }
            from = end;
        }
        let room = MOST_IDS * BATCH;
        out.reserve(room);
        let (mut to, mut n_ids) = (out.as_mut_ptr(), out.len());
        for (nth, &end) in ends.iter().enumerate() {
            let EncodeScratch { cache, batch, .. } = scratch;
            let (key, place) = (&batch.keys[nth], batch.places[nth]);
            let mut known = true;
            if end - start <= INLINE {
                let found = cache.short(key, place, &which);
                if let Some(row) = found {
                    // SAFETY: there is room for [`MOST_IDS`] of each piece of the batch from `n_ids` on.
                    unsafe { to.add(n_ids).cast::<T::Few>().write_unaligned(*row) };
                    if let Some(count) = count_of(row.as_ref()) {
                        n_ids += count;
                        start = end;
                        continue;
                    }
                }
                known = found.is_some();
            } else if end - start <= MEDIUM
                && let Some(row) = cache.medium(&medium_key(text, start, end), place as u64)
                && let Some(count) = count_of(row.as_ref())
            {
                // SAFETY: as above.
                unsafe { to.add(n_ids).cast::<T::Several>().write_unaligned(*row) };
                n_ids += count;
                start = end;
                continue;
            }
            // SAFETY: all ids up to here were written.
            unsafe { out.set_len(n_ids) };
            self.encode_slowly(&text[start..end], known, scratch, out);
            out.reserve(room);
            (to, n_ids) = (out.as_mut_ptr(), out.len());
            start = end;
        }
        // SAFETY: as above.
        unsafe { out.set_len(n_ids) };
    }

    /// A piece that its table does not know; where it marks it, or there is none for it, others may.
    #[inline(never)]
    fn encode_slowly<T: TokenId>(
        &self,
        bytes: &[u8],
        elsewhere: bool,
        scratch: &mut EncodeScratch<T>,
        out: &mut Vec<T>,
    ) {
        let EncodeScratch {
            cache, merge, ids, ..
        } = scratch;
        if elsewhere {
            if bytes.len() <= INLINE {
                let key = medium_key(bytes, 0, bytes.len());
                let row = cache.medium(&key, hash_medium(&key)).map(AsRef::as_ref);
                if let Some((row, count)) = row.and_then(|row| Some((row, count_of(row)?))) {
                    out.extend_from_slice(&row[..count]);
                    return;
                }
            }
            if let Some(ids) = cache.long(bytes) {
                out.extend_from_slice(ids);
                return;
            }
        }
        ids.clear();
        let whole = if self.ignore_merges {
            self.index.find(&self.vocab, bytes)
        } else {
            None
        };
        match whole {
            Some(id) => ids.push(id),
            None => self.merges.encode(bytes, merge, ids),
        }
        let from = out.len();
        out.extend(ids.iter().map(|&id| T::from_id(id)));
        cache.put(bytes, &out[from..]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PieceCounter;
    use crate::train::{TrainOptions, train};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    fn encoder(pattern: &str) -> Encoder {
        let open = || Pretokenizer::new(pattern).expect("valid");
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

    static ENCODERS: LazyLock<[Encoder; 4]> =
        LazyLock::new(|| ["gpt2", "gpt4", "o200k", r"\p{L}+(?=\s)"].map(encoder));

    proptest! {
        #[test]
        fn decoding_gives_the_text_back(texts in proptest::collection::vec(any::<String>(), 1..8)) {
            for encoder in ENCODERS.iter() {
                let mut scratch = EncodeScratch::default();
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
            encoder(pattern)
                .encode(&text, &mut EncodeScratch::default(), &mut ids)
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
