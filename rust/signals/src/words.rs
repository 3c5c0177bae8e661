//! What datatrove measures of words: of Unicode words, or of spaCy's.

use curate_text::hash::hash_bytes;

use crate::characters::Characters;
use crate::english::{English, Word};
use crate::lines::{SplitLine, strip};
use crate::measures::Values;
use crate::tokens::Tokens;

/// A list of stop words, compared as written.
#[derive(Clone, Debug)]
pub struct StopWords {
    /// Sorted hashes of the words.
    hashes: Vec<u64>,
    /// A bit for the lowest ten bits of each hash: most words of a text are none of the list.
    filter: [u64; 16],
}

impl StopWords {
    /// The list of these words.
    pub fn new<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        let mut hashes: Vec<_> = words
            .into_iter()
            .map(|word| hash_bytes(word.as_bytes()))
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        let mut filter = [0; 16];
        for hash in &hashes {
            filter[(hash >> 6) as usize % 16] |= 1 << (hash % 64);
        }
        Self { hashes, filter }
    }

    #[inline]
    fn find(&self, hash: u64) -> Option<usize> {
        match self.filter[(hash >> 6) as usize % 16] >> (hash % 64) & 1 {
            0 => None,
            _ => self.hashes.binary_search(&hash).ok(),
        }
    }
}

/// Buffers of one text, and its words by spaCy where those are wanted.
#[derive(Debug, Default)]
pub(crate) struct DatatroveWords<'e> {
    english: Option<&'e mut English>,
    words: Vec<Word>,
    hashes: Vec<u64>,
    chars: Vec<u32>,
    /// Which stop words were met.
    met: Vec<bool>,
    /// First word of the lines to come.
    next: usize,
    /// Words of a line whose text was changed.
    changed: Vec<Word>,
}

impl<'e> DatatroveWords<'e> {
    pub fn new(english: Option<&'e mut English>) -> Self {
        Self {
            english,
            ..Self::default()
        }
    }

    pub fn is_english(&self) -> bool {
        self.english.is_some()
    }

    /// Hashes and characters of spaCy's words; None where Unicode words are counted.
    pub fn english(&self) -> Option<(&[u64], &[u32])> {
        self.english
            .as_ref()
            .map(|_| (self.hashes.as_slice(), self.chars.as_slice()))
    }

    /// `dots` and `ellipses` are the occurrences of "..." and of the ellipsis character.
    pub fn measure(
        &mut self,
        text: &str,
        tokens: &Tokens,
        characters: &Characters,
        (dots, ellipses): (usize, usize),
        stops: &StopWords,
        values: &mut Values,
    ) {
        let (mut words, mut word_chars, alpha, all);
        if let Some(english) = &mut self.english {
            english.words(text, &mut self.words);
            (self.next, words, word_chars) = (0, 0, 0);
            self.hashes.clear();
            self.chars.clear();
            let mut letters = 0;
            for word in &self.words {
                self.hashes.push(word.hash);
                self.chars.push(word.chars);
                words += usize::from(word.counts);
                word_chars += if word.counts { word.chars as usize } else { 0 };
                letters += usize::from(word.alpha);
            }
            (alpha, all) = (letters, self.words.len());
        } else {
            words = tokens.hashes.len();
            word_chars = tokens.chars.iter().map(|&chars| chars as usize).sum();
            // spaCy makes a word of nearly every mark; of three dots one.
            let marks = (characters.all - word_chars - characters.spaces).saturating_sub(2 * dots);
            (alpha, all) = (tokens.alpha, words + marks);
        }
        let a_word = |count: usize| count as f64 / all.max(1) as f64;
        values.datatrove_n_words = words as f64;
        values.datatrove_mean_word_chars = word_chars as f64 / words.max(1) as f64;
        values.datatrove_hash_ratio = a_word(characters.hashes);
        values.datatrove_ellipsis_ratio = a_word(dots + ellipses);
        values.datatrove_alpha_word_share = a_word(alpha);
        values.newline_word_ratio = if all == 0 {
            0.0
        } else {
            a_word(characters.newlines)
        };
        let hashes = if self.is_english() {
            &self.hashes
        } else {
            &tokens.hashes
        };
        self.met.clear();
        self.met.resize(stops.hashes.len(), false);
        for stop in hashes.iter().filter_map(|&hash| stops.find(hash)) {
            self.met[stop] = true;
        }
        values.datatrove_n_stop_words = self.met.iter().filter(|&&met| met).count() as f64;
    }

    /// Sentences of a line by spaCy's rule, of its changed text where there is one. Lines must come in order.
    pub fn sentences(&mut self, line: SplitLine, text: &str, changed: Option<&str>) -> usize {
        if let (Some(changed), Some(english)) = (changed, &mut self.english) {
            english.words(changed, &mut self.changed);
            return spacy_sentences(changed, &self.changed);
        }
        let inner = strip(&text[line.start..line.end]);
        let start = inner.as_ptr() as usize - text.as_ptr() as usize;
        let end = start + inner.len();
        let rest = &self.words[self.next..];
        let from = self.next + rest.partition_point(|word| (word.from as usize) < start);
        let to = from + self.words[from..].partition_point(|word| (word.from as usize) < end);
        self.next = to;
        spacy_sentences(text, &self.words[from..to])
    }
}

/// spaCy's sentencizer: a sentence begins with the first word that is no punctuation after an end mark. Whitespace
/// other than single spaces is a word of its own there; a sentence of nothing else counts for datatrove as none.
fn spacy_sentences(text: &str, words: &[Word]) -> usize {
    let mut found = usize::from(!words.is_empty());
    let (mut ended, mut last) = (false, None);
    for word in words {
        let gap = || last.map_or("", |last: u32| &text[last as usize..word.from as usize]);
        if ended && (!matches!(gap(), "" | " ") || !word.mark && !word.punctuation) {
            found += 1;
            ended = false;
        }
        ended |= word.mark;
        last = Some(word.to);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_begin_after_marks() {
        let words = |text: &str| -> Vec<_> {
            let place = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
            let words = text.split_whitespace();
            words
                .map(|word| Word::new(text, place(word), place(word) + word.len()))
                .collect()
        };
        for (text, expected) in [
            ("", 0),
            ("one two", 1),
            ("one . two", 2),
            ("one . \" two", 2),
            ("one . \"", 1),
            ("one .  \"", 2),
            ("one ? ! two . three", 3),
            ("one . .", 1),
        ] {
            assert_eq!(spacy_sentences(text, &words(text)), expected, "{text}");
        }
    }

    #[test]
    fn stop_words_are_compared_as_written() {
        let stops = StopWords::new(["the", "und", "the"]);
        assert_eq!(stops.hashes.len(), 2);
        assert!(
            stops.find(hash_bytes(b"the")).is_some() && stops.find(hash_bytes(b"The")).is_none()
        );
    }
}
