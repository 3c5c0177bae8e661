//! The table of measures: name, unit and definition, once, for the code, the schema and the documentation.

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Name of the column.
    pub name: &'static str,
    /// What a value counts, or "share" for 0..1.
    pub unit: &'static str,
    /// What it is, in one line.
    pub definition: &'static str,
}

macro_rules! measures {
    ($($name:ident, $unit:literal, $definition:literal;)*) => {
        /// All measures, in the order of the columns.
        pub const MEASURES: [Measure; N_MEASURES] = [
            $(Measure { name: stringify!($name), unit: $unit, definition: $definition }),*
        ];

        /// How many measures there are.
        pub const N_MEASURES: usize = [$($unit),*].len();

        /// The measures of one text.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Values { $(pub $name: f64),* }

        impl Values {
            /// The values in the order of `MEASURES`.
            pub fn into_array(self) -> [f64; N_MEASURES] {
                [$(self.$name),*]
            }
        }
    };
}

measures! {
    n_bytes, "bytes", "Length of the text in UTF-8.";
    n_chars, "characters", "Code points of the text.";
    n_words, "words", "Maximal runs of \\w in the lower-cased text; in scripts without spaces every character.";
    n_lines, "lines", "Lines (between newlines) that hold more than whitespace.";
    n_paragraphs, "paragraphs", "Paragraphs (between two newlines) that hold more than whitespace.";
    n_space_words, "words", "Words between whitespace, as Python's str.split finds them.";
    n_alnum_words, "words", "Words between ASCII whitespace that begin with a letter or number: DCLM's count without punctuation.";
    mean_word_chars, "characters", "Mean length of the words between whitespace; 0 without words.";
    symbol_word_ratio, "symbols a word", "Occurrences of #, ..., . . . and the ellipsis character over words between whitespace.";
    alpha_word_share, "share", "Words between whitespace that hold a letter.";
    n_stop_words, "words", "Words between whitespace that are, in lower case, one of the, be, to, of, and, that, have, with.";
    bullet_line_share, "share", "Lines that begin, after whitespace, with one of the bullets ● • * -.";
    ellipsis_line_share, "share", "Lines that end, before whitespace, with ..., . . . or the ellipsis character.";
    dup_line_share, "share", "Lines whose stripped text occurs more than once, all occurrences counted.";
    dup_paragraph_share, "share", "Paragraphs whose stripped text occurs more than once, all occurrences counted.";
    dup_line_char_share, "share", "Characters of stripped lines that lie in lines occurring more than once.";
    dup_paragraph_char_share, "share", "Characters of stripped paragraphs that lie in paragraphs occurring more than once.";
    top_2gram_char_share, "share", "Characters of words (Unicode words, UAX 29, that begin with a letter or number) in the most frequent pair of words, the longest of the most frequent; 0 where none occurs twice.";
    top_3gram_char_share, "share", "The same for runs of 3 words.";
    top_4gram_char_share, "share", "The same for runs of 4 words.";
    dup_5gram_char_share, "share", "Characters of words that lie in a run of 5 words occurring more than once, each word counted once.";
    dup_6gram_char_share, "share", "The same for runs of 6 words.";
    dup_7gram_char_share, "share", "The same for runs of 7 words.";
    dup_8gram_char_share, "share", "The same for runs of 8 words.";
    dup_9gram_char_share, "share", "The same for runs of 9 words.";
    dup_10gram_char_share, "share", "The same for runs of 10 words.";
}
