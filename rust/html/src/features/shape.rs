//! What a block's text looks like: one pass over its bytes, which also hashes its words.

use crate::features::group;
use curate_text::chars::{MARK, UPPER, WORD, classes, decode, lower};

use crate::hash::Fnv;

/// Words of a block whose learned weights count; later ones are hashed for repetition only.
pub const WEIGHED_WORDS: usize = 16;

/// A CJK character counts as this many words, and as this many characters more than one.
const CJK_WORDS: f32 = 0.6;
const CJK_CHARS: f32 = 1.5;

/// Counts over one text.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Characters; one of a CJK script counts two and a half.
    pub chars: f32,
    /// Words and numbers; a CJK character counts 0.6.
    pub words: f32,
    /// Commas, semicolons and their like.
    pub commas: f32,
    /// Ends of sentences.
    pub sentences: f32,
    /// Question marks.
    pub questions: f32,
    /// ASCII digits.
    pub digits: f32,
    /// Capitals.
    pub capitals: f32,
    /// Words that begin with a capital.
    pub capitalized: f32,
    /// Words of at most three letters.
    pub short_words: f32,
    /// Letters of the longest word.
    pub longest_word: f32,
    /// CJK characters.
    pub cjk: f32,
    /// Other characters beyond ASCII.
    pub non_ascii: f32,
    /// `|`, `/`, `<` and `>`.
    pub pipes: f32,
    /// A currency sign.
    pub currency: bool,
    /// A copyright sign.
    pub copyright: bool,
    /// `//`.
    pub url: bool,
    /// Class of the first byte.
    pub beginning: u8,
    /// Class of the last character.
    pub ending: u8,
    /// Hash of all words.
    pub hash: u32,
    /// Hash of the first word.
    pub first_word: u32,
    /// Its words in `Words::all`.
    pub all: (u32, u32),
    /// Its first words in `Words::first`.
    pub first: (u32, u32),
}

/// Hashed words of many texts.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// Every word.
    pub all: Vec<u32>,
    /// The first `WEIGHED_WORDS` of each text.
    pub first: Vec<u32>,
}

impl Words {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.all.clear();
        self.first.clear();
    }
}

const SMALL: u8 = 1;
const CAPITAL: u8 = 2;
const DIGIT: u8 = 3;
const BLANK: u8 = 4;
const COMMA: u8 = 5;
const STOP: u8 = 6;
const LEAD: u8 = 7;
const CONTINUATION: u8 = 8;
const BAR: u8 = 9;
const DOLLAR: u8 = 10;
const OTHER: u8 = 11;

static CLASS: [u8; 256] = {
    let mut table = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'a'..=b'z' => SMALL,
            b'A'..=b'Z' => CAPITAL,
            b'0'..=b'9' => DIGIT,
            b' ' | b'\n' | b'\t' => BLANK,
            b',' | b';' => COMMA,
            b'.' | b'!' | b'?' => STOP,
            0xC0.. => LEAD,
            0x80..=0xBF => CONTINUATION,
            b'|' | b'>' | b'/' | b'<' => BAR,
            b'$' => DOLLAR,
            _ => OTHER,
        };
        byte += 1;
    }
    table
};

/// The word being read.
struct Word {
    hash: Fnv,
    length: u32,
    capital: bool,
}

impl Word {
    const fn none(hash: Fnv) -> Self {
        Self {
            hash,
            length: 0,
            capital: false,
        }
    }
}

struct Pass<'a> {
    shape: Shape,
    words: &'a mut Words,
    word: Word,
    hash: Fnv,
}

impl Pass<'_> {
    #[inline]
    fn letter(&mut self, byte: u8) {
        self.word.hash.push(byte);
        self.word.length += 1;
    }

    #[inline]
    fn hashed(&mut self, hash: u32) {
        self.words.all.push(hash);
        if self.shape.first_word == 0 {
            self.shape.first_word = hash | 1;
        }
        if self.words.first.len() - (self.shape.first.0 as usize) < WEIGHED_WORDS {
            self.words.first.push(hash);
        }
        self.hash.push_hash(hash);
    }

    #[inline]
    fn end_word(&mut self) {
        let Word {
            hash,
            length,
            capital,
        } = std::mem::replace(&mut self.word, Word::none(Fnv::new()));
        if length == 0 {
            return;
        }
        let shape = &mut self.shape;
        shape.words += 1.0;
        shape.capitalized += f32::from(u8::from(capital));
        shape.short_words += f32::from(u8::from(length <= 3));
        shape.longest_word = shape.longest_word.max(length as f32);
        self.hashed(hash.finish());
    }

    /// A character beyond ASCII.
    #[inline]
    fn beyond_ascii(&mut self, c: char) {
        let class = classes(c as u32);
        if is_cjk(c) && class & WORD != 0 {
            self.end_word();
            self.shape.cjk += 1.0;
            self.hashed(Fnv::of(c.encode_utf8(&mut [0; 4]).as_bytes()));
            return;
        }
        if class & (WORD | MARK) != 0 {
            let upper = class & UPPER != 0;
            self.word.capital |= upper && self.word.length == 0;
            self.shape.capitals += f32::from(u8::from(upper));
            self.shape.non_ascii += 1.0;
            self.word.length += 1;
            let small = char::from_u32(lower(c as u32)).unwrap_or(c);
            small
                .encode_utf8(&mut [0; 4])
                .bytes()
                .for_each(|byte| self.word.hash.push(byte));
            return;
        }
        self.end_word();
        let shape = &mut self.shape;
        match c {
            '、' | '，' | '،' | '；' | '؛' => shape.commas += 1.0,
            '。' | '！' | '？' | '｡' | '؟' | '۔' | '।' | '։' => {
                shape.sentences += 1.0;
                shape.questions += f32::from(u8::from(matches!(c, '？' | '؟')));
            }
            '\u{20a0}'..='\u{20cf}' | '£' | '¥' => shape.currency = true,
            '©' => shape.copyright = true,
            _ => {}
        }
    }

    #[inline]
    fn ascii(&mut self, byte: u8, class: u8, next: Option<u8>) {
        match class {
            SMALL => self.letter(byte),
            CAPITAL => {
                self.word.capital |= self.word.length == 0;
                self.shape.capitals += 1.0;
                self.letter(byte | 0x20);
            }
            DIGIT => {
                self.shape.digits += 1.0;
                self.letter(b'0'); // numbers of one length are one word
            }
            _ => {
                self.end_word();
                let shape = &mut self.shape;
                match class {
                    COMMA => shape.commas += 1.0,
                    STOP => {
                        shape.questions += f32::from(u8::from(byte == b'?'));
                        shape.sentences +=
                            f32::from(u8::from(next.is_none_or(|next| next <= b' ')));
                    }
                    BAR => {
                        shape.pipes += 1.0;
                        shape.url |= byte == b'/' && next == Some(b'/');
                    }
                    DOLLAR => shape.currency = true,
                    _ => {}
                }
            }
        }
    }
}

/// Reads one text, which is not empty; its words go to `words`.
pub fn measure(text: &[u8], words: &mut Words) -> Shape {
    let (all, first) = (words.all.len() as u32, words.first.len() as u32);
    let mut pass = Pass {
        shape: Shape {
            all: (all, all),
            first: (first, first),
            ..Shape::default()
        },
        words,
        word: Word::none(Fnv::new()),
        hash: Fnv::new(),
    };
    let mut at = 0;
    while at < text.len() {
        let class = CLASS[text[at] as usize];
        if class == LEAD || class == CONTINUATION {
            let (code, length) = decode(text, at);
            pass.beyond_ascii(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            at += length;
        } else {
            pass.ascii(text[at], class, text.get(at + 1).copied());
            at += 1;
        }
    }
    pass.end_word();
    let Pass {
        mut shape,
        words,
        hash,
        ..
    } = pass;
    let characters = text.iter().filter(|&&byte| byte & 0xC0 != 0x80).count();
    shape.chars = characters as f32 + shape.cjk * CJK_CHARS;
    shape.words += shape.cjk * CJK_WORDS;
    shape.hash = hash.finish();
    shape.all.1 = words.all.len() as u32;
    shape.first.1 = words.first.len() as u32;
    shape.beginning = text.first().map_or(0, |&byte| CLASS[byte as usize]);
    shape.ending = ending(text);
    shape
}

/// Scripts of which every character is a word: Han, Kana, Hangul.
#[inline]
fn is_cjk(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}')
}

/// 1: a sentence's end, 2: a colon, 3: a comma, 4: a closing mark, 5: a digit, 0: anything else.
fn ending(text: &[u8]) -> u8 {
    match text {
        [.., b'.' | b'!' | b'?'] | [.., 0xE3, 0x80, _] | [.., 0xEF, 0xBC, _] => 1,
        [.., b':'] => 2,
        [.., b','] => 3,
        [.., b'"' | b'\'' | b')'] | [.., 0xE2, 0x80, _] => 4,
        [.., b'0'..=b'9'] => 5,
        _ => 0,
    }
}

group! {
    /// The text of the block itself.
    Text {
        chars: "characters", "length; a CJK character counts 2.5";
        words: "words", "words and numbers; a CJK character counts 0.6";
        link_share: "share", "part of its bytes that is link text";
        n_links: "count", "links in it";
        strong_share: "share", "part of its bytes in b or strong";
        commas: "count", "commas, semicolons and their like";
        sentences: "count", "ends of sentences";
        comma_rate: "per word", "commas a word";
        sentence_rate: "per word", "ends of sentences a word";
        digit_share: "share", "digits among its characters";
        capital_share: "share", "capitals among its characters";
        capitalized_share: "share", "words that begin with a capital";
        short_word_share: "share", "words of at most three letters";
        mean_word: "characters", "characters a word";
        longest_word: "letters", "length of the longest word";
        ending: "class", "kind of its last character";
        beginning: "class", "kind of its first byte";
        currency: "0 or 1", "a currency sign occurs";
        copyright: "0 or 1", "a copyright sign occurs";
        pipes: "count", "bars and slashes";
        questions: "count", "question marks";
        url: "0 or 1", "a double slash occurs";
        cjk_share: "share", "CJK among its characters";
        non_ascii_share: "share", "other characters beyond ASCII";
        n_breaks: "count", "line breaks inside it";
        n_images: "count", "images just before it";
        n_inputs: "count", "form fields just before it";
    }
}

impl Text {
    /// The features of a block of this shape.
    pub fn of(shape: &Shape, block: &crate::page::Block) -> Self {
        let bytes = block.text.len() as f32;
        Self {
            chars: shape.chars,
            words: shape.words,
            link_share: (block.link_bytes as f32 / bytes).min(1.0),
            n_links: f32::from(block.n_links),
            strong_share: block.strong_bytes as f32 / bytes,
            commas: shape.commas,
            sentences: shape.sentences,
            comma_rate: shape.commas / (shape.words + 1.0),
            sentence_rate: shape.sentences / (shape.words + 1.0),
            digit_share: shape.digits / shape.chars,
            capital_share: shape.capitals / shape.chars,
            capitalized_share: shape.capitalized / (shape.words + 0.01),
            short_word_share: shape.short_words / (shape.words + 0.01),
            mean_word: shape.chars / (shape.words + 0.5),
            longest_word: shape.longest_word,
            ending: f32::from(shape.ending),
            beginning: f32::from(shape.beginning),
            currency: super::flag(shape.currency),
            copyright: super::flag(shape.copyright),
            pipes: shape.pipes,
            questions: shape.questions,
            url: super::flag(shape.url),
            cjk_share: shape.cjk / shape.chars,
            non_ascii_share: shape.non_ascii / shape.chars,
            n_breaks: f32::from(block.n_breaks),
            n_images: f32::from(block.n_images),
            n_inputs: f32::from(block.n_inputs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Shape {
        measure(text.as_bytes(), &mut Words::default())
    }

    #[test]
    fn words_sentences_and_signs_are_counted() {
        let s = shape("Dr. Smith paid $12, didn't he? Yes; see http://x.org");
        assert_eq!(
            (s.words, s.commas, s.sentences, s.questions),
            (12.0, 2.0, 2.0, 1.0)
        );
        assert!(s.currency && s.url && !s.copyright);
        assert_eq!((s.digits, s.capitalized, s.longest_word), (2.0, 3.0, 5.0));
    }

    #[test]
    fn every_cjk_character_is_a_word_of_its_own() {
        let mut words = Words::default();
        let s = measure("我来自北京，你呢？好。".as_bytes(), &mut words);
        assert_eq!((s.cjk, s.commas, s.sentences, s.ending), (8.0, 1.0, 2.0, 1));
        assert_eq!(words.all.len(), 8);
    }

    #[test]
    fn the_case_of_ascii_and_the_digits_of_a_number_do_not_change_the_words() {
        assert_eq!(shape("PAGE 12 of 90").hash, shape("page 34 OF 57").hash);
        assert_ne!(shape("page 12").hash, shape("page 123").hash);
    }
}
