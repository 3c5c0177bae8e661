"""Benchmark items planted into documents in the ways that they turn up on the web, and texts that only look like items.

verbatim            the item alone: passage, question, options, answer
own paragraph       the same between two paragraphs of a document
wrapped             that, in lines of 8 words
embedded            question and answer inside a sentence
retyped             other case, punctuation, spaces and Unicode forms
5 %, 10 % edits     words replaced (70 %), left out or put in
embedded, 10 %      both
shuffled            options in another order
question only       without options and answer
apart               the answer in another part of the document
"""

import random
import re
import unicodedata
from collections.abc import Iterator

from curate.decontam.items import Item

UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u4e00-\u9fff]")
KINDS = ("verbatim", "own paragraph", "wrapped", "embedded", "retyped", "5 % edits", "10 % edits",
         "embedded, 10 % edits", "shuffled", "question only", "apart")  # fmt: skip
_TYPOGRAPHY = str.maketrans({"'": "\u2019", "-": "\u2013", '"': "\u201d", " ": "\u00a0"})


class Planter:
    """Plants items into `hosts`, texts of documents; edits take their words from these."""

    def __init__(self, hosts: list[str], seed: int) -> None:
        self.rng = random.Random(seed)
        self.hosts = hosts
        self.vocabulary = [word for host in hosts[:400] for word in re.findall(r"[^\W\d_]{2,}", host)] or ["word"]

    def plants(self, item: Item, continued: bool = False) -> Iterator[tuple[str, str]]:
        """(kind, document) of every kind; `continued`: the answer goes on with the sentence of the question."""
        full = self.rendered(item, continued)
        question = item.question if item.passage else self.rendered(item, continued, options=False, answer=False)
        both = self.rendered(item, continued, options=False)
        yield "verbatim", full
        yield "own paragraph", self.between(full)
        yield "wrapped", self.between(_wrapped(full))
        yield "embedded", self.inside(both)
        yield "retyped", self.between(self.retyped(full))
        yield "5 % edits", self.between(self.edited(full, 0.05))
        yield "10 % edits", self.between(self.edited(full, 0.1))
        yield "embedded, 10 % edits", self.inside(self.edited(both, 0.1))
        if item.choices and not continued:
            order = self.rng.sample(item.choices, len(item.choices))
            yield "shuffled", self.between(self.rendered(item._replace(choices=order), continued))
        yield "question only", self.between(question)
        elsewhere = f"{self.rng.choice(self.hosts)}\n\nAnswer: {item.answer or 'none'}"
        yield "apart", f"{self.between(question)}\n\n{elsewhere}"

    def rendered(self, item: Item, continued: bool, options: bool = True, answer: bool = True) -> str:
        """The item as a page shows it."""
        if continued:
            return f"{item.question} {item.answer}" if answer else item.question
        lines = [item.passage, item.question]
        if options:
            lines += [f"{chr(ord('A') + at)}. {choice}" for at, choice in enumerate(item.choices)]
        if answer and item.answer:
            lines.append(f"Answer: {item.answer}")
        return "\n".join(line for line in lines if line)

    def between(self, block: str) -> str:
        """A host with the block as a paragraph of its own."""
        paragraphs = self.rng.choice(self.hosts).split("\n\n")
        at = self.rng.randrange(len(paragraphs) + 1)
        return "\n\n".join([*paragraphs[:at], block, *paragraphs[at:]])

    def inside(self, block: str) -> str:
        """A host with the block inside of a line, on one line itself."""
        host = self.rng.choice(self.hosts)
        ends = [word.end() for word in re.finditer(r"\S+", host)]
        at = ends[self.rng.randrange(len(ends) // 5, max(len(ends) * 4 // 5, len(ends) // 5 + 1))]
        return f"{host[:at]} {' '.join(block.split())}{host[at:]}"

    def edited(self, text: str, share: float) -> str:
        """The text with a share of its words changed; in scripts without spaces, of its letters."""
        rng = self.rng
        if UNSPACED.search(text):
            return "".join(self._edit(c, text, "") if c.isalpha() and rng.random() < share * 0.6 else c for c in text)
        parts = re.split(r"(\s+)", text)
        return "".join(
            self._edit(part, self.vocabulary, " ") if re.search(r"\w", part) and rng.random() < share else part
            for part in parts
        )

    def _edit(self, word: str, pool: list[str] | str, space: str) -> str:
        """Another word, none, or the word and another one."""
        kind = self.rng.random()
        return self.rng.choice(pool) if kind < 0.7 else "" if kind < 0.85 else word + space + self.rng.choice(pool)

    def retyped(self, text: str) -> str:
        """One of four ways to write the same words."""
        way = self.rng.randrange(4)
        is_sign = [unicodedata.category(c)[0] in "PS" for c in text]
        if way == 0:
            return "".join(c for c, sign in zip(text, is_sign, strict=True) if not sign).upper()
        if way == 1:
            return "".join(" " if sign else c for c, sign in zip(text, is_sign, strict=True)).lower()
        if way == 2:
            return text.lower().replace("...", "\u2026").translate(_TYPOGRAPHY)
        text = unicodedata.normalize("NFD", text.title()).replace("fi", "\ufb01").replace("fl", "\ufb02")
        hyphen = (c + "\u00ad" if c.isascii() and c.isalpha() and self.rng.random() < 0.05 else c for c in text)
        return "".join(c + "\u200b" if c == " " and self.rng.random() < 0.1 else c for c in hyphen)


def _wrapped(text: str) -> str:
    """Lines of 8 words, or of 12 characters in scripts without spaces."""
    if UNSPACED.search(text):
        return "\n".join(text[at : at + 12] for at in range(0, len(text), 12))
    words = text.split()
    return "\n".join(" ".join(words[at : at + 8]) for at in range(0, len(words), 8))


# -- what only looks like items --------------------------------------------------------------------------------

PER_FAMILY = 40

# Opening words that are quoted everywhere (1776, 1863, 1933, 1215).
_SPEECHES = [
    "Four score and seven years ago our fathers brought forth, upon this continent, a new nation, conceived in liberty,"
    " and dedicated to the proposition that all men are created equal.",
    "We hold these truths to be self-evident, that all men are created equal, that they are endowed by their Creator"
    " with certain unalienable Rights, that among these are Life, Liberty and the pursuit of Happiness.",
    "So, first of all, let me assert my firm belief that the only thing we have to fear is fear itself.",
    "No free man shall be seized or imprisoned, or stripped of his rights or possessions, except by the lawful judgment"
    " of his equals or by the law of the land.",
]
_ENACTING = [
    "Be it enacted by the Senate and House of Representatives of the United States of America in Congress assembled,"
    " That this Act may be cited as the {noun} Act of {year}.",
    "BE IT ENACTED by the King's most Excellent Majesty, by and with the advice and consent of the Lords Spiritual and"
    " Temporal, and Commons, in this present Parliament assembled, and by the authority of the same, as follows:"
    " Section {small}. The {noun} shall be kept in order.",
    "The People of the State, represented in Senate and Assembly, do enact as follows: Section {small} of the {noun}"
    " law, as amended by chapter {number} of the laws of {year}, is amended to read as follows.",
]
_LICENCES = [
    'The {noun} is provided "as is", without warranty of any kind, express or implied, including but not limited to the'
    " warranties of merchantability, fitness for a particular purpose and noninfringement. In no event shall the"
    " authors of the {noun} be liable for any claim, damages or other liability.",
    "You may copy, change and distribute the {noun} in source or binary form, provided that this notice and the"
    " following {small} conditions are kept in all copies or substantial portions of it.",
]
_LEGAL = [
    "If any provision of this Agreement is held to be invalid or unenforceable, the remaining {small} provisions shall"
    " remain in full force and effect, and the parties shall replace the provision on {noun} by a valid one.",
    "The parties submit to the exclusive jurisdiction of the courts of the place where the {noun} lies, without regard"
    " to conflict of laws. Notices take effect {small} days after they were sent.",
]
_TEMPLATED = [
    "{name} has {small} {noun}s and buys {number} more. {name} gives {other} of them to a friend. How many {noun}s does"
    " {name} have left?",
    "A train leaves the station at {small} o'clock and travels {number} kilometers in {other} hours. What is its"
    " average speed in kilometers per hour?",
    "If {name} reads {small} pages of a book about a {noun} every day, how many pages does {name} read in {other}"
    " weeks?",
]
_TRUTH_TABLES = [
    "Construct a complete truth table for the following argument. Then, using the truth table, determine whether the"
    " argument is valid or invalid. If the argument is invalid, choose an option which presents a counterexample.\n"
    "{p} \u2283 ({q} \u00b7 ~{r})\n~{q} \u2228 {p}\n{r} \u2261 {number}",
    "Construct a complete truth table for the following pairs of propositions. Then, using the truth tables, determine"
    " whether the statements are logically equivalent or contradictory.\n~{p} \u2228 {q} and {q} \u00b7 ({r} \u2283"
    " ~{p}) in exercise {number}",
]
_CUBES = [
    "The sum of two cubes factors as a^3 + b^3 = (a + b)(a^2 - ab + b^2). With a = {small}x and b = {other} this gives"
    " {small}^3 x^3 + {other}^3, and we check it for x = {number}.",
    "1^3 + 2^3 + 3^3 + ... + n^3 = (n(n + 1)/2)^2. For n = {small} the sum of the cubes is a square; so it is for n ="
    " {number}.",
]
_ANGLES = [
    "sin(a + b) = sin a cos b + cos a sin b, and cos(a + b) = cos a cos b - sin a sin b. With a = {small} and b ="
    " {other} degrees we get the sine of {number} degrees.",
    "tan(a + b) = (tan a + tan b) / (1 - tan a tan b). Let a be {small} degrees and b {other} degrees; then the"
    " tangent of the sum, {number} degrees, follows.",
]
FAMILIES = {
    "enacting clauses": _ENACTING, "famous speeches": _SPEECHES, "licences": _LICENCES, "legal clauses": _LEGAL,
    "templated mathematics": _TEMPLATED, "truth tables": _TRUTH_TABLES, "sums of cubes": _CUBES,
    "angle addition": _ANGLES,
}  # fmt: skip
_NAMES = ("Ines", "Tomas", "Oluwaseun", "Mirela", "Kenji", "Farah", "Anton", "Lucia")
_NOUNS = ("lantern", "bridge", "kettle", "harbor", "ledger", "orchard", "compass", "quarry", "loom", "canal")


def look_alikes(planter: Planter, passages: list[str]) -> Iterator[tuple[str, str]]:
    """(family, document): PER_FAMILY documents of each, a text of the family inside of a host.

    `passages` are those that items ask about: the source of an item without its question.
    """
    rng = planter.rng
    for family, forms in FAMILIES.items():
        for number in range(PER_FAMILY):
            letters = rng.sample("ABCDEFGHJKLMNPQRSTUVWXYZ", 3)
            made = forms[number % len(forms)].format(
                name=rng.choice(_NAMES), noun=rng.choice(_NOUNS), year=rng.randrange(1901, 2020),
                small=rng.randrange(2, 20), other=rng.randrange(2, 9), number=rng.randrange(21, 900),
                p=letters[0], q=letters[1], r=letters[2],
            )  # fmt: skip
            yield family, planter.between(made)
    for passage in rng.sample(passages, min(PER_FAMILY, len(passages))):
        yield "source passages", planter.between(passage)
