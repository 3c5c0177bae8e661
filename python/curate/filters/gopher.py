"""The Gopher rules (arXiv 2112.11446, table A1 and section A.1.1) as DCLM, datatrove and Dolma count them.

DCLM: words are those between whitespace, or Unicode words without punctuation; symbols are "#", "...", "…" and ". .
." together; stop words count by occurrence, lower-cased; every occurrence of a repeated line counts as duplicate;
shares of characters are over the characters of words or lines, whitespace left out; a top n-gram must occur twice,
and ties go to the longest.

datatrove: words are a tokenizer's, in which punctuation counts as words for ratios; "#" and ellipses are two rules;
stop words are counted once each, as written; only later occurrences of a repeated line, paragraph or n-gram count as
duplicate; shares are over all characters of the text; a top n-gram may occur once.

Dolma: words are those between whitespace; their median length counts; a symbol word holds "#" or "…"; stop words count
by occurrence, as written.
"""

from curate.filters.rules import Preset, Rule, at_least, at_most

_PAPER = "limits: arXiv 2112.11446"

DCLM = Preset(
    name="gopher@dclm",
    source=f"{_PAPER}; counting: DCLM content_filters.py",
    rules=(
        at_least("gopher.min_words", "n_alnum_words", 50, "words"),
        at_most("gopher.max_words", "n_alnum_words", 100_000, "words"),
        at_least("gopher.min_word_length", "mean_word_chars", 3, "characters"),
        at_most("gopher.max_word_length", "mean_word_chars", 10, "characters"),
        at_most("gopher.symbols", "symbol_word_ratio", 0.1, "a word"),
        at_most("gopher.bullet_lines", "bullet_line_share", 0.9, "share of lines"),
        at_most("gopher.ellipsis_lines", "ellipsis_line_share", 0.3, "share of lines"),
        at_least("gopher.alpha_words", "alpha_word_share", 0.8, "share of words"),
        at_least("gopher.stop_words", "n_stop_words", 2, "occurrences"),
    ),
)

DATATROVE = Preset(
    name="gopher@datatrove",
    source=f"{_PAPER}; counting: datatrove 0.10 gopher_quality_filter.py",
    words="on 6 % of English documents, and names another rule on 12 %",
    rules=(
        at_least("gopher.min_words", "datatrove_n_words", 50, "words"),
        at_most("gopher.max_words", "datatrove_n_words", 100_000, "words"),
        at_least("gopher.min_word_length", "datatrove_mean_word_chars", 3, "characters"),
        at_most("gopher.max_word_length", "datatrove_mean_word_chars", 10, "characters"),
        at_most("gopher.hashes", "datatrove_hash_ratio", 0.1, "a word"),
        at_most("gopher.ellipses", "datatrove_ellipsis_ratio", 0.1, "a word"),
        at_most("gopher.bullet_lines", "datatrove_bullet_line_share", 0.9, "share of lines"),
        at_most("gopher.ellipsis_lines", "datatrove_ellipsis_line_share", 0.3, "share of lines"),
        at_least("gopher.alpha_words", "datatrove_alpha_word_share", 0.8, "share of words"),
        at_least("gopher.stop_words", "datatrove_n_stop_words", 2, "different words"),
    ),
)

DOLMA = Preset(
    name="gopher@dolma",
    source=f"{_PAPER}; counting: Dolma taggers/gopher.py",
    rules=(
        at_least("gopher.min_words", "n_space_words", 50, "words"),
        at_most("gopher.max_words", "n_space_words", 100_000, "words"),
        at_least("gopher.min_word_length", "dolma_median_word_chars", 3, "characters"),
        at_most("gopher.max_word_length", "dolma_median_word_chars", 10, "characters"),
        at_most("gopher.symbols", "dolma_symbol_word_share", 0.1, "share of words"),
        at_least("gopher.alpha_words", "alpha_word_share", 0.8, "share of words"),
        at_least("gopher.stop_words", "dolma_n_stop_words", 2, "occurrences"),
        at_most("gopher.bullet_lines", "dolma_bullet_line_share", 0.9, "share of lines"),
        at_most("gopher.ellipsis_lines", "dolma_ellipsis_line_share", 0.3, "share of lines"),
    ),
)


def _ngrams(prefix: str) -> tuple[Rule, ...]:
    """The rules on repeated n-grams, whose measures begin with `prefix`."""
    top, dup = ((2, 0.20), (3, 0.18), (4, 0.16)), ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
    family, unit = "gopher_repetition", "share of characters"
    return (
        *(at_most(f"{family}.top_{n}gram", f"{prefix}top_{n}gram_char_share", limit, unit) for n, limit in top),
        *(at_most(f"{family}.duplicate_{n}grams", f"{prefix}dup_{n}gram_char_share", limit, unit) for n, limit in dup),
    )


REPETITION_DCLM = Preset(
    name="gopher-repetition@dclm",
    source=f"{_PAPER}; counting: DCLM content_filters.py",
    rules=(
        at_least("gopher_repetition.empty", "n_lines", 1, "lines"),
        at_most("gopher_repetition.duplicate_lines", "dup_line_share", 0.30, "share of lines"),
        at_most("gopher_repetition.duplicate_paragraphs", "dup_paragraph_share", 0.30, "share of paragraphs"),
        at_most("gopher_repetition.duplicate_line_chars", "dup_line_char_share", 0.20, "share of characters"),
        at_most("gopher_repetition.duplicate_paragraph_chars", "dup_paragraph_char_share", 0.20, "share of characters"),
        *_ngrams(""),
    ),
)

REPETITION_DATATROVE = Preset(
    name="gopher-repetition@datatrove",
    source=f"{_PAPER}; counting: datatrove 0.10 gopher_repetition_filter.py",
    words="on 3 % of English documents",
    rules=(
        at_least("gopher_repetition.empty", "n_chars", 1, "characters"),
        at_most("gopher_repetition.duplicate_paragraphs", "datatrove_dup_paragraph_share", 0.30, "share of paragraphs"),
        at_most(
            "gopher_repetition.duplicate_paragraph_chars",
            "datatrove_dup_paragraph_char_share",
            0.20,
            "share of characters",
        ),
        at_most("gopher_repetition.duplicate_lines", "datatrove_dup_line_share", 0.30, "share of lines"),
        at_most("gopher_repetition.duplicate_line_chars", "datatrove_dup_line_char_share", 0.20, "share of characters"),
        *_ngrams("datatrove_"),
    ),
)
