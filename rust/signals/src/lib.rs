//! The heuristic measures that filters decide on, all in one pass over a text.
//!
//! Measuring is apart from deciding: the numbers here are kept in a table, so that a limit can be moved, or two
//! presets compared, without reading a text again. Each measure has one definition ([`MEASURES`]): where systems count
//! in different ways, each way is a measure of its own, because the same thresholds under other definitions of word,
//! line and duplicate drop other pages (up to 15 % of them).
//!
//! ```text
//! text --characters--> shares of classes
//!      --tokens------> words between whitespace and Unicode words   lengths, stop words, symbols
//!      --lines-------> lines, paragraphs                            duplicates, bullets, ellipses, end marks
//!      --line_rules--> what C4's and RefinedWeb's rules leave       sentences, words removed
//!      --repetition--> n-grams of the words, n = 2..10              repeated characters
//! ```
//!
//! [`cut_lines`] applies the rules on lines, [`English`] has the words of spaCy in place of Unicode words.

mod characters;
mod cut;
mod english;
mod line_forms;
mod line_rules;
mod lines;
mod measures;
mod repetition;
mod segment;
mod sentences;
mod tokens;
mod words;

use curate_text::{Cpu, Texts, Words};
use memchr::memmem;

pub use cut::{Cuts, cut_lines};
pub use english::{English, EnglishRules, Word};
pub use line_rules::{LINE_RULES, LineRule, LineRules, LinesOf, N_LINE_RULES};
pub use measures::{MEASURES, Measure, N_MEASURES};
pub use words::StopWords;

use characters::Characters;
use line_rules::{Document, Nothing, Phrases};
use measures::Values;
use repetition::Whose;

/// What can be wrong with the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Text that cannot be read.
    #[error(transparent)]
    Text(#[from] curate_text::Error),
    /// A pattern of the words that is no regular expression.
    #[error("the {name} pattern is no regular expression: {message}")]
    Pattern {
        /// Which one.
        name: &'static str,
        /// What the engine says.
        message: String,
    },
    /// Lists of stop words that do not fit the rows.
    #[error("row {row} wants list {list} of {lists} lists of stop words")]
    NoSuchList {
        /// The row, from 0.
        row: usize,
        /// The list that it names.
        list: u32,
        /// How many there are.
        lists: usize,
    },
}

/// Every measure of every text: column i holds `MEASURES[i]`, one number a row.
///
/// Row r counts the stop words of list `list_of[r]`; where `list_of` is empty every row those of the first. With
/// `english` datatrove's measures count spaCy's words, else Unicode words.
pub fn measure(
    texts: Texts<'_>,
    stop_words: &[StopWords],
    list_of: &[u32],
    english: Option<&mut English>,
    cpu: Cpu,
) -> Result<Vec<Vec<f64>>, Error> {
    let mut columns: Vec<_> = (0..N_MEASURES)
        .map(|_| Vec::with_capacity(texts.len()))
        .collect();
    let mut meter = Meter::new(cpu, english);
    for row in 0..texts.len() {
        let list = list_of.get(row).copied().unwrap_or(0);
        let stops = stop_words.get(list as usize).ok_or(Error::NoSuchList {
            row,
            list,
            lists: stop_words.len(),
        })?;
        let values = meter.measure(row, texts.text(row)?, stops)?.into_array();
        columns
            .iter_mut()
            .zip(values)
            .for_each(|(column, value)| column.push(value));
    }
    Ok(columns)
}

/// Ellipses, then marks of URLs.
const SYMBOLS: [&str; 5] = ["...", ". . .", "…", "://", "www."];

/// Buffers that are kept from text to text.
struct Meter<'e> {
    scan: Words,
    lines: lines::Lines,
    tokens: tokens::Tokens,
    repetition: repetition::Repetition,
    words: words::DatatroveWords<'e>,
    finder: Phrases,
    /// Look for SYMBOLS.
    symbols: [memmem::Finder<'static>; 5],
    /// Places of URLs' marks.
    marks: Vec<usize>,
    phrases: Vec<(usize, u8)>,
    /// Sentences of each line of str.splitlines.
    sentences: Vec<u32>,
}

impl<'e> Meter<'e> {
    fn new(cpu: Cpu, english: Option<&'e mut English>) -> Self {
        Self {
            scan: Words::new(cpu),
            lines: lines::Lines::default(),
            tokens: tokens::Tokens::default(),
            repetition: repetition::Repetition::default(),
            words: words::DatatroveWords::new(english),
            finder: Phrases::default(),
            symbols: SYMBOLS.map(memmem::Finder::new),
            marks: vec![],
            phrases: vec![],
            sentences: vec![],
        }
    }

    fn measure(&mut self, row: usize, text: &str, stops: &StopWords) -> Result<Values, Error> {
        let mut values = Values::default();
        let characters = self.read(row, text, &mut values)?;
        values.n_bytes = text.len() as f64;
        values.n_words = self.scan.starts().len() as f64;
        values.n_sentences = self.sentences.iter().map(|&n| f64::from(n)).sum();
        let short = self
            .tokens
            .chars
            .iter()
            .filter(|&&chars| chars <= 3)
            .count();
        let words = (self.tokens.chars.len() + short) as f64;
        values.readability_eflaw = words / values.n_sentences.max(1.0);
        values.url_char_share = share(self.url_bytes(text.as_bytes()), text.len());
        values.periodic_repeats = repetition::periodic_repeats(&self.tokens.hashes) as f64;
        let count = |symbol: usize| self.symbols[symbol].find_iter(text.as_bytes()).count();
        let (dots, spaced) = (count(0), count(1));
        let ellipses = if characters.all < text.len() {
            count(2)
        } else {
            0
        };
        let symbols = characters.hashes + dots + spaced + ellipses;
        values.symbol_word_ratio = symbols as f64 / values.n_space_words.max(1.0);
        self.words.measure(
            text,
            &self.tokens,
            &characters,
            (dots, ellipses),
            stops,
            &mut values,
        );
        self.line_rules(text, &mut values);
        let Self {
            repetition,
            tokens,
            words,
            ..
        } = self;
        let chars = characters.all;
        match words.english() {
            None => repetition.measure(
                &tokens.hashes,
                &tokens.chars,
                chars,
                Whose::Both,
                &mut values,
            ),
            Some(words) => {
                repetition.measure(
                    &tokens.hashes,
                    &tokens.chars,
                    chars,
                    Whose::Dclm,
                    &mut values,
                );
                repetition.measure(words.0, words.1, chars, Whose::Datatrove, &mut values);
            }
        }
        Ok(values)
    }

    /// Words, lines, sentences and phrases of a text.
    fn read(&mut self, row: usize, text: &str, values: &mut Values) -> Result<Characters, Error> {
        self.scan.find(row, text)?;
        let characters = Characters::measure(text, text.is_ascii(), values);
        self.tokens
            .measure(text, self.scan.starts(), self.scan.ends(), values);
        self.lines.measure(text, &self.tokens, &characters, values);
        self.sentences.clear();
        for number in 0..self.lines.n_split() {
            let line = self.lines.split_line(number, &self.tokens.lines);
            let sentences = sentences::sentences(&text[line.start..line.end]);
            self.sentences.push(sentences as u32);
        }
        self.finder
            .find(self.scan.lower(text.len()), &mut self.phrases);
        Ok(characters)
    }

    fn document<'a>(&'a self, text: &'a str) -> Document<'a> {
        Document {
            text,
            lines: &self.lines,
            words: &self.tokens.lines,
            phrases: &self.phrases,
            finder: &self.finder,
            lower: self.scan.lower(text.len()),
        }
    }

    /// Bytes of the words between ASCII whitespace that hold "://" or "www.".
    fn url_bytes(&mut self, text: &[u8]) -> usize {
        let Self { symbols, marks, .. } = self;
        marks.clear();
        marks.extend(symbols[3].find_iter(text).chain(symbols[4].find_iter(text)));
        marks.sort_unstable();
        let (mut bytes, mut end) = (0, 0);
        for &mark in marks.iter() {
            if mark >= end {
                let before = text[end..mark].iter().rposition(u8::is_ascii_whitespace);
                let after = text[mark..].iter().position(u8::is_ascii_whitespace);
                let start = before.map_or(end, |place| end + place + 1);
                end = after.map_or(text.len(), |length| mark + length);
                bytes += end - start;
            }
        }
        bytes
    }

    /// What the published rules on lines leave of a text.
    fn line_rules(&mut self, text: &str, values: &mut Values) {
        let own = |line: usize, changed: Option<&str>| match changed {
            Some(changed) => sentences::sentences(changed),
            None => self.sentences[line] as usize,
        };
        let document = self.document(text);
        let judged = document.c4(&LineRules::published(LinesOf::C4Tfds), own, &mut Nothing);
        values.c4_tfds_n_sentences = judged.sentences as f64;
        values.c4_tfds_lorem_ipsum = f64::from(judged.lorem_ipsum);
        values.c4_tfds_curly_bracket = f64::from(judged.curly_bracket);
        let published = LineRules::published(LinesOf::RefinedWeb);
        let judged = document.refined_web(&published, values.n_alnum_words, &mut Nothing);
        values.refinedweb_removed_word_share = judged.removed_share;
        let mut words = std::mem::take(&mut self.words);
        let document = self.document(text);
        let rules = LineRules::published(LinesOf::C4Datatrove);
        let judged = match words.is_english() {
            false => document.c4(&rules, own, &mut Nothing),
            true => document.c4(
                &rules,
                |line, changed| words.sentences(document.line(line), text, changed),
                &mut Nothing,
            ),
        };
        self.words = words;
        values.c4_datatrove_n_sentences = judged.sentences as f64;
        values.c4_datatrove_lorem_ipsum = f64::from(judged.lorem_ipsum);
        values.c4_datatrove_curly_bracket = f64::from(judged.curly_bracket);
    }
}

/// Characters (code points) of a text: the bytes that continue none.
fn n_chars(text: &[u8]) -> usize {
    count_bytes(text, |byte| byte & 0xC0 != 0x80)
}

/// How many bytes are such; summed up in bytes, 128 at a time, so that the loop becomes vector instructions.
#[inline]
fn count_bytes(text: &[u8], is_such: impl Fn(u8) -> bool) -> usize {
    let sum = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0_u8, |sum, &byte| sum + u8::from(is_such(byte)))
    };
    let (chunks, rest) = text.as_chunks::<128>();
    chunks
        .iter()
        .map(|chunk| usize::from(sum(chunk)))
        .sum::<usize>()
        + usize::from(sum(rest))
}

/// part / whole, and 0 where there is no whole.
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
