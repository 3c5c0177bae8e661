"""The Gopher rules (arXiv 2112.11446, table A1 and section A.1.1) as DCLM counts them.

DCLM's reading, where systems differ: words are Unicode words without punctuation; symbols are "#", "...", "…" and
". . ." together, over white-space words; stop words count by occurrence, lower-cased; every occurrence of a
repeated line counts as duplicate; shares of characters are over the characters of words or lines, white space
left out; a top n-gram must occur twice, and ties go to the longest.
"""

from curate.filters.rules import Preset, Rule

DCLM = Preset(
    name="gopher@dclm",
    source="limits: arXiv 2112.11446; counting: DCLM content_filters.py",
    rules=(
        Rule("gopher.min_words", "n_alnum_words", "min", 50, "words"),
        Rule("gopher.max_words", "n_alnum_words", "max", 100_000, "words"),
        Rule("gopher.min_word_length", "mean_word_chars", "min", 3, "characters"),
        Rule("gopher.max_word_length", "mean_word_chars", "max", 10, "characters"),
        Rule("gopher.symbols", "symbol_word_ratio", "max", 0.1, "a word"),
        Rule("gopher.bullet_lines", "bullet_line_share", "max", 0.9, "share of lines"),
        Rule("gopher.ellipsis_lines", "ellipsis_line_share", "max", 0.3, "share of lines"),
        Rule("gopher.alpha_words", "alpha_word_share", "min", 0.8, "share of words"),
        Rule("gopher.stop_words", "n_stop_words", "min", 2, "occurrences"),
        Rule("gopher.duplicate_lines", "dup_line_share", "max", 0.30, "share of lines"),
        Rule("gopher.duplicate_paragraphs", "dup_paragraph_share", "max", 0.30, "share of paragraphs"),
        Rule("gopher.duplicate_line_chars", "dup_line_char_share", "max", 0.20, "share of characters"),
        Rule("gopher.duplicate_paragraph_chars", "dup_paragraph_char_share", "max", 0.20, "share of characters"),
        Rule("gopher.top_2gram", "top_2gram_char_share", "max", 0.20, "share of characters"),
        Rule("gopher.top_3gram", "top_3gram_char_share", "max", 0.18, "share of characters"),
        Rule("gopher.top_4gram", "top_4gram_char_share", "max", 0.16, "share of characters"),
        Rule("gopher.duplicate_5grams", "dup_5gram_char_share", "max", 0.15, "share of characters"),
        Rule("gopher.duplicate_6grams", "dup_6gram_char_share", "max", 0.14, "share of characters"),
        Rule("gopher.duplicate_7grams", "dup_7gram_char_share", "max", 0.13, "share of characters"),
        Rule("gopher.duplicate_8grams", "dup_8gram_char_share", "max", 0.12, "share of characters"),
        Rule("gopher.duplicate_9grams", "dup_9gram_char_share", "max", 0.11, "share of characters"),
        Rule("gopher.duplicate_10grams", "dup_10gram_char_share", "max", 0.10, "share of characters"),
    ),
)
