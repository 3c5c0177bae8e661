"""RefinedWeb's corrections of lines (arXiv 2306.01116) as DCLM has them.

Lines of capitals, numbers, counters and single words are cut, and phrases of shops and feeds in short lines; a document
that loses more than 5 % of its words is dropped. In DCLM gopher@dclm and gopher-repetition@dclm come before: name all
three in one step. URLs, which DCLM takes out of texts first, are left alone.
"""

from curate.filters.rules import LineRule, Preset, at_most

DCLM = Preset(
    name="refinedweb@dclm",
    source="DCLM modifiers.py with dclm_baseline_refinedweb.yaml",
    lines=(
        LineRule(
            "refinedweb.line_uppercase", "uppercase", "more of the line is upper case", 0.5, "share of characters"
        ),
        LineRule("refinedweb.line_digits", "digits", "more of the line is numbers", 0.999999, "share of characters"),
        LineRule("refinedweb.line_counter", "counter", 'the line is a counter, as "3 likes"'),
        LineRule("refinedweb.line_min_words", "few_words", "the line has fewer words", 2, "words"),
        LineRule(
            "refinedweb.phrases",
            "phrase",
            '"items in cart", "Read more...", "Sign-in" cut out of lines of at most so many words',
            10,
            "words",
        ),
    ),
    rules=(at_most("refinedweb.removed_words", "refinedweb_removed_word_share", 0.05, "share of words"),),
)
