"""The rules by which an item counts as found, and which tools are known for them.

    rule        n   an item is found in a document if
    aligned     5   its question aligns with it, edits allowed (rust/decontam/src/aligned.rs)
    gpt3       13   one n-gram of it is there (arXiv 2005.14165, appendix C)
    datatrove  12   one n-gram of it is there
    palm        8   70 % of its n-grams are there (arXiv 2204.02311, section 8)
    llama3      8   its n-grams that are there cover half of its words (arXiv 2407.21783, section 5.1.4)
    paragraph  13   half of the n-grams of a line of the document are of items, as of Bloom filters by paragraph

All but `aligned` look for passage, question and answer of an item as one text, and know one tier.
"""

from typing import Literal, NamedTuple

RuleName = Literal["aligned", "gpt3", "datatrove", "palm", "llama3", "paragraph"]
ALIGNED = "aligned"


class Rule(NamedTuple):
    """How n-grams of `n` words are looked for and counted; `share` is what is enough, where a share is counted.

    Of an n-gram that more than `max_items` items share, `aligned` knows nothing, and the others so many of these items.
    """

    n: int
    counting: str = ""
    share: float = 0.0
    max_items: int = 300


RULES: dict[str, Rule] = {
    ALIGNED: Rule(5, max_items=64),
    "gpt3": Rule(13, "any"),
    "datatrove": Rule(12, "any"),
    "palm": Rule(8, "grams", 0.7),
    "llama3": Rule(8, "words", 0.5),
    "paragraph": Rule(13, "paragraph", 0.5),
}
