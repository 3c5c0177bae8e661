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
    n_sentences, "sentences", "Per line that holds a letter or number: 1, and 1 more for each mark . ! ? (or other Sentence_Terminal) that a word follows; a period inside a word or number ends none.";
    n_space_words, "words", "Words between whitespace, as Python's str.split finds them.";
    n_alnum_words, "words", "Words between ASCII whitespace that begin with a letter or number: DCLM's count without punctuation.";
    mean_word_chars, "characters", "Mean length of the words between whitespace; 0 without words.";
    longest_word_chars, "characters", "Longest word between whitespace; 0 without words.";
    symbol_word_ratio, "symbols a word", "Occurrences of #, ..., . . . and the ellipsis character over words between whitespace.";
    alpha_word_share, "share", "Words between whitespace that hold a letter.";
    n_stop_words, "words", "Words between whitespace that are, in lower case, one of the, be, to, of, and, that, have, with.";
    bullet_line_share, "share", "Lines that begin, after whitespace, with one of the bullets ● • * -.";
    ellipsis_line_share, "share", "Lines that end, before whitespace, with ..., . . . or the ellipsis character.";
    uppercase_share, "share", "Upper-case characters (str.isupper) among all characters.";
    digit_share, "share", "Numbers (characters of \\w that are neither letter nor underscore) among all characters.";
    whitespace_share, "share", "Whitespace (str.isspace) among all characters.";
    non_alnum_share, "share", "Characters that are neither letter, number nor whitespace among all characters.";
    parenthesis_share, "share", "Round brackets among all characters.";
    url_char_share, "share", "Bytes of words between ASCII whitespace that hold :// or www. among all bytes.";
    mixed_script_word_share, "share", "Unicode words that hold letters of two of Latin, Greek and Cyrillic: homoglyphs, mostly.";
    main_script_share, "share", "Letters of the script with the most letters among all letters; 0 without letters.";
    styled_letter_share, "share", "Letters that are Latin ones in another style (bold or other mathematical, full-width, circled, small capitals) among all letters; 0 without letters.";
    readability_eflaw, "words a sentence", "McAlpine's EFLAW score: Unicode words (UAX 29, that begin with a letter or number) and once more those of at most 3 characters, over n_sentences; lower is easier; 0 without sentences.";
    periodic_repeats, "repeats", "Most repeats, back to back, of one run of 1 to 13 Unicode words; 1 where nothing repeats, 0 without words.";
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
    terminal_line_share, "share", "Lines with more than whitespace whose last character is a terminal mark (Sentence_Terminal); FineWeb's.";
    short_line_share, "share", "Lines with more than whitespace of at most 30 characters; FineWeb's.";
    repeated_line_char_share, "share", "Characters of lines that stood in the text before, over all characters but newlines; FineWeb's.";
    newline_word_ratio, "newlines a word", "Newlines over datatrove's words, punctuation counted; 0 without words; FineWeb's.";
    datatrove_n_words, "words", "Words that hold more than punctuation, of Unicode words or of spaCy's.";
    datatrove_mean_word_chars, "characters", "Mean length of those words; 0 without words.";
    datatrove_hash_ratio, "# a word", "Occurrences of # over words, punctuation counted as words.";
    datatrove_ellipsis_ratio, "ellipses a word", "Occurrences of ... and the ellipsis character over words, punctuation counted as words.";
    datatrove_bullet_line_share, "share", "Lines (str.splitlines, empty ones too) that begin, after whitespace, with • or -.";
    datatrove_ellipsis_line_share, "share", "Lines (str.splitlines, empty ones too) that end, before whitespace, with ... or the ellipsis character.";
    datatrove_alpha_word_share, "share", "Words that hold a letter among all words, punctuation counted as words.";
    datatrove_n_stop_words, "words", "Different stop words among the words, case counts; English ones unless the language has its own list.";
    datatrove_dup_paragraph_share, "share", "Paragraphs that stood in the text before among all paragraphs (between two newlines or more).";
    datatrove_dup_paragraph_char_share, "share", "Characters of such paragraphs over all characters of the text.";
    datatrove_dup_line_share, "share", "Lines that stood in the text before among all lines (between newlines).";
    datatrove_dup_line_char_share, "share", "Characters of such lines over all characters of the text.";
    datatrove_top_2gram_char_share, "share", "Length of the most frequent pair of words, space included, times its count, over all characters; of the most frequent the first; also where none occurs twice.";
    datatrove_top_3gram_char_share, "share", "The same for runs of 3 words.";
    datatrove_top_4gram_char_share, "share", "The same for runs of 4 words.";
    datatrove_dup_5gram_char_share, "share", "Characters of runs of 5 words that stood in the text before, over all characters; found from the left, without overlap.";
    datatrove_dup_6gram_char_share, "share", "The same for runs of 6 words.";
    datatrove_dup_7gram_char_share, "share", "The same for runs of 7 words.";
    datatrove_dup_8gram_char_share, "share", "The same for runs of 8 words.";
    datatrove_dup_9gram_char_share, "share", "The same for runs of 9 words.";
    datatrove_dup_10gram_char_share, "share", "The same for runs of 10 words.";
    dolma_median_word_chars, "characters", "Median length of the words between whitespace; 0 without words.";
    dolma_symbol_word_share, "share", "Words between whitespace that hold # or the ellipsis character.";
    dolma_n_stop_words, "words", "Words between whitespace that are one of the, be, to, of, and, that, have, with as written.";
    dolma_bullet_line_share, "share", "Lines (between newlines, empty ones too) whose first character is * or -.";
    dolma_ellipsis_line_share, "share", "Lines (between newlines, empty ones too) whose last character is the ellipsis.";
    c4_tfds_n_sentences, "sentences", "Sentences (as n_sentences) of the lines that c4@tfds keeps.";
    c4_tfds_lorem_ipsum, "0 or 1", "1 where a line that c4@tfds would otherwise keep has \"lorem ipsum\".";
    c4_tfds_curly_bracket, "0 or 1", "1 where a line that c4@tfds would otherwise keep has {, before any \"lorem ipsum\".";
    c4_datatrove_n_sentences, "sentences", "Sentences (as n_sentences, or spaCy's) of the lines that c4@datatrove keeps.";
    c4_datatrove_lorem_ipsum, "0 or 1", "1 where a line that c4@datatrove would otherwise keep has \"lorem ipsum\".";
    c4_datatrove_curly_bracket, "0 or 1", "1 where a line that c4@datatrove would otherwise keep has {, before any \"lorem ipsum\".";
    refinedweb_removed_word_share, "share", "Words that begin with a letter or number in what the line rules of refinedweb@dclm cut, over those of the stripped text; 1 without words.";
}
