"""The rules of C4 (arXiv 1910.10683) as its reference code has them (TensorFlow Datasets) and as datatrove does.

Lines are judged first: each is stripped and kept or cut, and sentences are counted in those that stay. A line that
would stay with "lorem ipsum" or a curly bracket in it drops the document. Sentences are counted by marks
(n_sentences) where the reference code uses punkt; with `words: spacy` those of c4@datatrove are spaCy's.

The reference code counts words after citations are removed, wants five of them and three sentences, and takes no
apostrophe for an end mark; datatrove counts them before, and wants three of them and five sentences. FineWeb goes
without c4.line_end_mark.
"""

from curate.filters.rules import LineRule, Preset, at_least, at_most


def _lines(min_words: int, marks: str) -> tuple[LineRule, ...]:
    return (
        LineRule("c4.line_word_length", "long_word", "a word of the line is longer", 1000, "characters"),
        LineRule("c4.citations", "citation", "[1], [edit], [citation needed]: cut out of the line"),
        LineRule("c4.line_end_mark", "end_mark", f"the line does not end with one of {marks}, or ends with ..."),
        LineRule("c4.line_min_words", "few_words", "the line has fewer words", min_words, "words"),
        LineRule("c4.line_javascript", "javascript", "the line names JavaScript"),
        LineRule("c4.line_policy", "policy", "the line has a phrase of cookie and privacy notices"),
    )


TFDS = Preset(
    name="c4@tfds",
    source="TensorFlow Datasets c4_utils.py (clean_page, is_valid_length)",
    lines=_lines(5, '. ? ! "'),
    rules=(
        at_most("c4.max_chars", "n_chars", 190_000, "characters"),
        at_most("c4.lorem_ipsum", "c4_tfds_lorem_ipsum", 0, ""),
        at_most("c4.curly_bracket", "c4_tfds_curly_bracket", 0, ""),
        at_least("c4.min_sentences", "c4_tfds_n_sentences", 3, "sentences"),
    ),
)

DATATROVE = Preset(
    name="c4@datatrove",
    source="datatrove 0.10 c4_filters.py (C4QualityFilter)",
    words="on .4 % of English documents",
    lines=_lines(3, ". ? ! \" '"),
    rules=(
        at_most("c4.lorem_ipsum", "c4_datatrove_lorem_ipsum", 0, ""),
        at_most("c4.curly_bracket", "c4_datatrove_curly_bracket", 0, ""),
        at_least("c4.min_sentences", "c4_datatrove_n_sentences", 5, "sentences"),
    ),
)
