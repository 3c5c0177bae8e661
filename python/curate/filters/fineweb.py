"""FineWeb's own rules (arXiv 2406.17557), on lines that hold more than whitespace.

In FineWeb they come after the Gopher rules and C4's, and so see the text that C4's rules leave: a second filter step.
FineWeb-2 has other limits for each language (`groups`).
"""

from curate.filters.rules import Preset, at_least, at_most

DATATROVE = Preset(
    name="fineweb@datatrove",
    source="datatrove 0.10 fineweb_quality_filter.py",
    words="on .4 % of English documents",
    rules=(
        at_least("fineweb.empty", "n_lines", 1, "lines"),
        at_least("fineweb.terminal_lines", "terminal_line_share", 0.12, "share of lines"),
        at_most("fineweb.short_lines", "short_line_share", 0.67, "share of lines"),
        at_most("fineweb.repeated_line_chars", "repeated_line_char_share", 0.01, "share of characters"),
        at_most("fineweb.newlines", "newline_word_ratio", 0.3, "a word"),
    ),
)
