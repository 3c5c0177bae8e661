//! The index of benchmark items: their words as numbers, and where each word n-gram stands in which item.

use curate_text::{Texts, hash};

use crate::{Error, Normalizer, check_length};

/// Words of a question that are indexed; longer ones are found by their beginning. It bounds what one alignment costs.
pub const MAX_QUESTION: usize = 1024;
/// Words of a text that are indexed where n-grams are counted and nothing is aligned: places are 16-bit numbers.
pub const MAX_TEXT: usize = 65_000;
/// With fewer words in the question, n-grams that reach into the options are indexed too.
const SHORT_QUESTION: usize = 20;

/// What is indexed of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seeding {
    /// n-grams of the question, and of the options where that is short; one that more than `max_items` items share is
    /// left out.
    Aligned,
    /// n-grams of the text; of one that more than `max_items` items share, so many are kept.
    Ngrams,
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It can be found.
    Indexed = 0,
    /// It has fewer words than one n-gram.
    TooShort = 1,
    /// Each of its n-grams stands in too many items.
    Common = 2,
    /// It can be found by its beginning: it has more words than are indexed.
    Shortened = 3,
}

/// The index as columns. Of lists there are offsets and values: row i is `values[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Default)]
pub struct Index {
    /// Offsets of `questions` and `frequencies`, an item each.
    pub question_offsets: Vec<i64>,
    /// The low half of each word's hash.
    pub questions: Vec<u32>,
    /// How many items' questions have the rarest of the n-grams that cover a word; 1 where none does.
    pub frequencies: Vec<u16>,
    /// Offsets of `options`, one option each; the options of all items follow each other.
    pub option_offsets: Vec<i64>,
    /// Words of the options.
    pub options: Vec<u32>,
    /// Offsets of `answers`, an item each.
    pub answer_offsets: Vec<i64>,
    /// Words of the answers.
    pub answers: Vec<u32>,
    /// Hashes of n-grams, sorted and distinct.
    pub grams: Vec<u64>,
    /// Offsets of `items` and `places`, an n-gram each.
    pub posting_offsets: Vec<i64>,
    /// The item of a posting.
    pub items: Vec<u32>,
    /// The word at which the n-gram begins, counted from the beginning of the question.
    pub places: Vec<u16>,
    /// `State` of each item.
    pub states: Vec<u8>,
    /// Words of questions and options, sorted and distinct.
    pub vocabulary: Vec<u32>,
    /// How many questions have each.
    pub document_frequencies: Vec<u32>,
}

/// The items to index: the texts of item i are rows i, its options the next `option_counts[i]` rows of `options`.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// What is looked for.
    pub questions: Texts<'a>,
    /// Possible answers of all items.
    pub options: Texts<'a>,
    /// How many of them each item has.
    pub option_counts: &'a [u32],
    /// The right answers.
    pub answers: Texts<'a>,
}

/// A posting in the making: gram, item, place.
type Posting = (u64, u32, u16);

impl Index {
    /// Indexes items by n-grams of `n` words. Time and memory are linear in their words, but for sorting.
    pub fn new(
        sources: Sources<'_>,
        n: usize,
        seeding: Seeding,
        max_items: usize,
    ) -> Result<Self, Error> {
        check_length(n)?;
        check_counts(&sources)?;
        let mut index = Self::default();
        let longest = if seeding == Seeding::Aligned {
            MAX_QUESTION
        } else {
            MAX_TEXT
        };
        let questions = Hashes::new(sources.questions, longest)?;
        let options = Hashes::new(sources.options, MAX_QUESTION)?;
        let answers = Hashes::new(sources.answers, MAX_QUESTION)?;
        let mut postings = postings(
            &questions,
            &options,
            &answers,
            sources.option_counts,
            n,
            seeding,
        );
        let cut = questions.cut.clone();
        (index.question_offsets, index.questions) = questions.halves();
        (index.option_offsets, index.options) = options.halves();
        (index.answer_offsets, index.answers) = answers.halves();
        index.frequencies = vec![u16::MAX; index.questions.len()];
        postings.sort_unstable();
        postings.dedup();
        index.states = vec![State::TooShort as u8; sources.option_counts.len()];
        index.keep(&postings, n, seeding, max_items);
        for frequency in &mut index.frequencies {
            *frequency = if *frequency == u16::MAX {
                1
            } else {
                *frequency
            };
        }
        for item in cut {
            if index.states[item] == State::Indexed as u8 {
                index.states[item] = State::Shortened as u8;
            }
        }
        index.count_words();
        Ok(index)
    }

    /// Fills grams and postings from the sorted ones, and what the n-grams say of words and items.
    fn keep(&mut self, postings: &[Posting], n: usize, seeding: Seeding, max_items: usize) {
        self.posting_offsets.push(0);
        for same in postings.chunk_by(|a, b| a.0 == b.0) {
            // Postings of a gram are sorted by item.
            let items = same.chunk_by(|a, b| a.1 == b.1).count();
            let within = |posting: &&Posting| {
                usize::from(posting.2) + n
                    <= list(&self.question_offsets, &self.questions, posting.1 as usize).len()
            };
            let questions = same
                .chunk_by(|a, b| a.1 == b.1)
                .filter(|of| of.iter().any(|p| within(&p)))
                .count();
            for &(_, item, place) in same.iter().filter(within) {
                let first = self.question_offsets[item as usize] as usize + usize::from(place);
                for frequency in &mut self.frequencies[first..first + n] {
                    *frequency = (*frequency).min(questions.min(u16::MAX as usize - 1) as u16);
                }
            }
            let common = items > max_items && seeding == Seeding::Aligned;
            let state = if common {
                State::Common
            } else {
                State::Indexed
            };
            for &(_, item, _) in same {
                let held = &mut self.states[item as usize];
                if *held != State::Indexed as u8 {
                    *held = state as u8;
                }
            }
            if common {
                continue;
            }
            self.grams.push(same[0].0);
            for &(_, item, place) in same.iter().take(if items > max_items {
                max_items
            } else {
                usize::MAX
            }) {
                self.items.push(item);
                self.places.push(place);
            }
            self.posting_offsets.push(self.items.len() as i64);
        }
    }

    fn count_words(&mut self) {
        self.vocabulary = [&self.questions[..], &self.options[..]].concat();
        self.vocabulary.sort_unstable();
        self.vocabulary.dedup();
        self.document_frequencies = vec![0; self.vocabulary.len()];
        let mut distinct = Vec::new();
        for item in 0..self.states.len() {
            distinct.clear();
            distinct.extend_from_slice(list(&self.question_offsets, &self.questions, item));
            distinct.sort_unstable();
            distinct.dedup();
            for word in &distinct {
                if let Ok(at) = self.vocabulary.binary_search(word) {
                    self.document_frequencies[at] += 1;
                }
            }
        }
    }
}

fn check_counts(sources: &Sources<'_>) -> Result<(), Error> {
    let items = sources.questions.len();
    let options = sources
        .option_counts
        .iter()
        .map(|&count| count as usize)
        .sum();
    if (
        sources.answers.len(),
        sources.option_counts.len(),
        sources.options.len(),
    ) == (items, items, options)
    {
        Ok(())
    } else {
        Err(Error::Counts {
            questions: items,
            answers: sources.answers.len(),
            option_counts: sources.option_counts.len(),
            counted: options,
            options: sources.options.len(),
        })
    }
}

/// Every n-gram to look for, with its item and place.
fn postings(
    questions: &Hashes,
    options: &Hashes,
    answers: &Hashes,
    option_counts: &[u32],
    n: usize,
    seeding: Seeding,
) -> Vec<Posting> {
    let mut postings = Vec::with_capacity(questions.values.len() + options.values.len());
    let (mut option, mut joined) = (0, Vec::new());
    for (item, &count) in option_counts.iter().enumerate() {
        let question = questions.row(item);
        // Those that end behind word `from`; the first of `words` is word `first` of the item.
        let mut add = |words: &[u64], first: usize, from: usize| {
            for (place, gram) in hash::ngrams(words, n).enumerate() {
                if first + place + n > from {
                    postings.push((gram, item as u32, (first + place) as u16));
                }
            }
        };
        add(question, 0, 0);
        let parts = option..option + count as usize;
        option = parts.end;
        if seeding == Seeding::Ngrams || question.len() >= SHORT_QUESTION {
            continue;
        }
        let first = question.len().saturating_sub(n - 1);
        let mut reach_into = |words: &[u64]| {
            joined.clear();
            joined.extend_from_slice(&question[first..]);
            joined.extend_from_slice(words);
            add(&joined, first, question.len());
        };
        if parts.is_empty() {
            reach_into(answers.row(item));
        }
        parts.for_each(|part| reach_into(options.row(part)));
    }
    postings
}

/// The hashes of the words of texts: a list a row.
struct Hashes {
    offsets: Vec<i64>,
    values: Vec<u64>,
    /// Rows of which only the beginning is here.
    cut: Vec<usize>,
}

impl Hashes {
    /// At most `longest` words of each text.
    fn new(texts: Texts<'_>, longest: usize) -> Result<Self, Error> {
        let mut normalizer = Normalizer::default();
        let (mut offsets, mut values, mut cut) = (vec![0], Vec::new(), Vec::new());
        for row in 0..texts.len() {
            let hashes = normalizer.scan(row, texts.text(row)?)?;
            if hashes.len() > longest {
                cut.push(row);
            }
            values.extend(hashes.iter().take(longest));
            offsets.push(values.len() as i64);
        }
        Ok(Self {
            offsets,
            values,
            cut,
        })
    }

    fn row(&self, row: usize) -> &[u64] {
        list(&self.offsets, &self.values, row)
    }

    /// The offsets, and the low half of each hash, which is enough to compare words of one window.
    fn halves(self) -> (Vec<i64>, Vec<u32>) {
        (
            self.offsets,
            self.values.into_iter().map(|hash| hash as u32).collect(),
        )
    }
}

/// Row `row` of a column of lists.
pub fn list<'a, T>(offsets: &[i64], values: &'a [T], row: usize) -> &'a [T] {
    &values[offsets[row] as usize..offsets[row + 1] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_text::Offsets;

    fn column(texts: &[&str]) -> (Vec<i64>, String) {
        let mut offsets = vec![0];
        offsets.extend(texts.iter().scan(0, |end, text| {
            *end += text.len() as i64;
            Some(*end)
        }));
        (offsets, texts.concat())
    }

    fn index(items: &[(&str, &[&str], &str)], seeding: Seeding, max_items: usize) -> Index {
        let questions = column(&items.iter().map(|item| item.0).collect::<Vec<_>>());
        let options = column(
            &items
                .iter()
                .flat_map(|item| item.1.to_vec())
                .collect::<Vec<_>>(),
        );
        let answers = column(&items.iter().map(|item| item.2).collect::<Vec<_>>());
        let counts: Vec<u32> = items.iter().map(|item| item.1.len() as u32).collect();
        let texts = |column: &'_ (Vec<i64>, String)| -> Texts<'static> {
            let offsets: &'static [i64] = Vec::leak(column.0.clone());
            Texts::new(
                Offsets::Large(offsets),
                String::leak(column.1.clone()).as_bytes(),
            )
        };
        let sources = Sources {
            questions: texts(&questions),
            options: texts(&options),
            option_counts: &counts,
            answers: texts(&answers),
        };
        Index::new(sources, 5, seeding, max_items).unwrap()
    }

    #[test]
    fn short_questions_reach_into_their_options() {
        let made = index(
            &[
                ("one two three", &["four five six seven", "eight"], ""),
                ("a b", &[], "c d e f"),
            ],
            Seeding::Aligned,
            64,
        );
        // Item 0: one..five, two..six, three..seven; item 1: a..e, b..f. No gram of 5 reaches "eight".
        let mut postings: Vec<(u32, u16)> = made
            .items
            .iter()
            .copied()
            .zip(made.places.iter().copied())
            .collect();
        postings.sort_unstable();
        assert_eq!(postings, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]);
        assert_eq!(made.states, [0, 0]);
        assert!(made.grams.is_sorted() && made.posting_offsets.last() == Some(&5));
    }

    #[test]
    fn items_that_cannot_be_found_are_told_apart() {
        let same = "the very same words in each of them";
        let made = index(
            &[
                (same, &[], ""),
                (same, &[], ""),
                (same, &[], ""),
                ("too short", &[], ""),
            ],
            Seeding::Aligned,
            2,
        );
        assert_eq!(
            made.states,
            [
                State::Common as u8,
                State::Common as u8,
                State::Common as u8,
                State::TooShort as u8
            ]
        );
        assert!(made.grams.is_empty());
        let kept = index(
            &[(same, &[], ""), (same, &[], ""), (same, &[], "")],
            Seeding::Ngrams,
            2,
        );
        assert_eq!((kept.grams.len(), kept.items.len()), (4, 8));
        let long = "w ".repeat(MAX_QUESTION + 1) + "tail";
        assert_eq!(
            index(&[(&long, &[], "")], Seeding::Aligned, 64).states,
            [State::Shortened as u8]
        );
    }

    #[test]
    fn a_word_is_as_common_as_the_rarest_gram_around_it() {
        let stem = "which of the following statements is";
        let made = index(
            &[
                (&format!("{stem} a b c d e f"), &[], ""),
                (&format!("{stem} true"), &[], ""),
                (stem, &[], ""),
            ],
            Seeding::Aligned,
            64,
        );
        assert_eq!(
            list(&made.question_offsets, &made.frequencies, 0),
            [3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
        );
        let at = |word: &str| {
            let hash = Normalizer::default().scan(0, word).unwrap()[0] as u32;
            made.document_frequencies[made.vocabulary.binary_search(&hash).unwrap()]
        };
        assert_eq!((at("which"), at("true"), at("e")), (3, 1, 1));
    }
}
