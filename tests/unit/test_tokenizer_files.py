"""Every form of file gives the same ids in the library that reads it, and files made elsewhere are read."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tiktoken
import tiktoken.load
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from curate import kernels
from curate.errors import ConfigError, DataError
from curate.stages import train_tokenizer
from curate.stages.train_tokenizer import TrainTokenizer, add_up, weighted
from curate.tokenizer.files import with_digits
from curate.tokenizer.model import END_OF_DOCUMENT, open_encoder, read_tokenizer

CORPUS = [
    "The quick brown fox doesn't jump over the lazy dog's 1234567 bones.\n\n  def f(x):\n\treturn x\n",
    "Быстрая лиса прыгает. الثعلب السريع يقفز فوق الكلب. 敏捷的棕色狐狸跳过懒狗。 ภาษาไทยไม่เว้นวรรค 😀😀",
    "low lower lowest newer newest widest  12 345 6789 ٣٤٥٦٧ " + "xyz" * 30,
]
TEXTS = [*CORPUS, "", " ", "  two  spaces ", "a", "é", "\x00\ufeff", "▁mark", "unseen: ÿ 𝒳 한국어", END_OF_DOCUMENT]
texts = st.one_of(st.text(max_size=30), st.text(alphabet=" \n▁aelowrst12éЖ中😀", max_size=30))


class Reads:
    """The counts of some batches, as the train phase reads them."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def table(self, name: str) -> pa.Table:
        return self._table


def counts(config: TrainTokenizer, values: list[str], sources: list[str] | None = None) -> pa.Table:
    columns = {"text": pa.array(values, pa.large_string()), "source": pa.array(sources or ["web"] * len(values))}
    batch = pa.RecordBatch.from_pydict(columns)
    # One batch a document: parts must add up to the same whatever their number.
    parts = [train_tokenizer.count(batch.slice(i, 1), config).emits["counts"] for i in range(batch.num_rows)]
    return pa.Table.from_batches(parts)


def products(values: list[str], folder: Path, sources: list[str] | None = None, **options: Any) -> dict[str, Any]:
    """What the stage makes, written to files below folder."""
    config = TrainTokenizer(**{"vocab_size": 400, **options})
    made = train_tokenizer.train(config, Reads(counts(config, values, sources)))  # type: ignore[arg-type]
    for name, path in train_tokenizer.PRODUCTS:
        if name in made:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(made[name])
    return dict(made)


def ids(path: Path, values: list[str]) -> list[list[int]]:
    encoded: list[list[int]] = pa.array(open_encoder(path).encode(pa.array(values, pa.large_string()))).to_pylist()
    return encoded


def assert_ids_of_the_library(path: Path, values: list[str]) -> None:
    expected = Tokenizer.from_file(str(path))
    expected.encode_special_tokens = True
    assert ids(path, values) == [expected.encode(value, add_special_tokens=False).ids for value in values]


def assert_round_trip(path: Path, values: list[str]) -> None:
    encoder = open_encoder(path)
    decoded = pa.array(encoder.decode(encoder.encode(pa.array(values, pa.large_string())))).to_pylist()
    assert decoded == [value.encode() for value in values]


# -- the three forms of a byte-level model -------------------------------------------------------------------


@pytest.mark.parametrize("digits", ["pattern", "single", "left", "right"])
@pytest.mark.parametrize("pattern", ["gpt2", "gpt4", "o200k"])
def test_all_files_give_the_same_ids(tmp_path: Path, pattern: str, digits: str) -> None:
    products(CORPUS * 3, tmp_path, pattern=pattern, digits=digits)
    found = ids(tmp_path / "tokenizer.json", TEXTS)
    assert_ids_of_the_library(tmp_path / "tokenizer.json", TEXTS)
    assert_round_trip(tmp_path / "tokenizer.json", TEXTS)

    expression = with_digits(pattern, digits)
    folder = tmp_path / "tokenizer"
    theirs = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    split = pre_tokenizers.Split(Regex(expression), "isolated")
    theirs.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    assert found == [theirs.encode(value).ids for value in TEXTS]

    ranks = tiktoken.load.load_tiktoken_bpe(str(folder / "ranks.tiktoken"))
    encoding = tiktoken.Encoding("t", pat_str=expression, mergeable_ranks=ranks, special_tokens={END_OF_DOCUMENT: 0})
    assert found == [encoding.encode_ordinary(value) for value in TEXTS]


def test_transformers_reads_the_file(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    products(CORPUS * 3, tmp_path)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    values = [value for value in TEXTS if value != END_OF_DOCUMENT]
    assert [tokenizer(value)["input_ids"] for value in values] == ids(tmp_path / "tokenizer.json", values)


def test_numbers_are_split_as_asked(tmp_path: Path) -> None:
    pieces = {}
    for digits in ("single", "left", "right"):
        row, start, end = (
            pa.array(c).to_pylist()
            for c in kernels.pretokenize(pa.array(["1234567"]), pattern=with_digits("gpt2", digits))
        )
        pieces[digits] = [("1234567")[s:e] for _, s, e in zip(row, start, end, strict=True)]
    assert pieces == {"single": list("1234567"), "left": ["123", "456", "7"], "right": ["1", "234", "567"]}
    with pytest.raises(ValueError, match="no alternative for numbers"):
        TrainTokenizer(pattern=r"\w+|\W+", digits="single")


# -- weights -------------------------------------------------------------------------------------------------


def test_weights_multiply_counts_exactly(tmp_path: Path) -> None:
    sources = ["web", "code", "web"]
    config = TrainTokenizer(weights={"web": "1/3", "code": 0.5})
    rows, scale = weighted(add_up(counts(config, ["a b", "b c", "a"], sources)), config.weights)
    assert scale == 6
    assert dict(zip(*add_up(rows).to_pydict().values(), strict=True)) == {b"a": 4, b" b": 2, b"b": 3, b" c": 3}
    # Weighing a source three times is the same as reading it three times.
    first = products(CORPUS, tmp_path, ["web", "code", "web"], weights={"code": 3})
    second = products([*CORPUS, CORPUS[1], CORPUS[1]], tmp_path)
    assert first == second


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({"web": "many"}, "the weight of web is 'many'"),
        ({"web": "1/0"}, "the weight of web is '1/0'"),
        ({"web": -1}, "below 0"),
        ({"books": 2}, "no text of a source 'books'; there are: web"),
        ({"web": "9223372036854775807"}, "do not fit 64 bits"),
        ({"web": 0}, "no text to train on"),
    ],
)
def test_weights_that_cannot_be(tmp_path: Path, weights: Any, reason: str) -> None:
    with pytest.raises((ValueError, ConfigError), match=reason):
        products(CORPUS, tmp_path, weights=weights)


# -- byte fallback -------------------------------------------------------------------------------------------


def test_byte_fallback_trains_as_the_reference(tmp_path: Path) -> None:
    made = products(CORPUS * 3, tmp_path, form="byte_fallback", alphabet="ñß", vocab_size=500)
    assert set(made) == {"tokenizer"}
    theirs = Tokenizer(models.BPE(byte_fallback=True))
    theirs.pre_tokenizer = pre_tokenizers.Split(Regex(with_digits("gpt4", "pattern")), "isolated")
    names = [END_OF_DOCUMENT, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=names, initial_alphabet=["ñ", "ß"], show_progress=False
    )
    theirs.train_from_iterator(CORPUS * 3, trainer)
    ours, expected = json.loads(made["tokenizer"])["model"], json.loads(theirs.to_str())["model"]
    assert ours["merges"] == expected["merges"] and ours["vocab"] == expected["vocab"]
    assert_ids_of_the_library(tmp_path / "tokenizer.json", TEXTS)
    assert_round_trip(tmp_path / "tokenizer.json", TEXTS)


@settings(max_examples=100, deadline=None)
@given(st.lists(texts, max_size=5))
def test_byte_fallback_decodes_to_the_text(tmp_path_factory: pytest.TempPathFactory, values: list[str]) -> None:
    folder = tmp_path_factory.getbasetemp() / "fallback"
    if not folder.exists():
        products(CORPUS * 3, folder, form="byte_fallback", limit_alphabet=40, vocab_size=400)
    assert_round_trip(folder / "tokenizer.json", values)
    assert_ids_of_the_library(folder / "tokenizer.json", values)


def test_too_small_a_vocabulary_names_the_minimum(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"1 special tokens, 256 bytes and \d+ characters need at least 3\d\d"):
        products(CORPUS, tmp_path, form="byte_fallback", vocab_size=300)
    assert b"were asked for" in products(["aa bb"], tmp_path, vocab_size=1000)["notes"]


# -- files made elsewhere ------------------------------------------------------------------------------------


def marked(tmp_path: Path, *, crossing: bool = False, **parts: Any) -> Path:
    """A file in the manner of SentencePiece: ▁ for spaces, byte fallback, special tokens first."""
    theirs = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    theirs.normalizer = parts.get("normalizer")
    theirs.pre_tokenizer = parts.get("pre_tokenizer")
    names = ["<unk>", "<s>", "</s>"]
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=450, special_tokens=names + alphabet, show_progress=False)
    training = Tokenizer(models.BPE(byte_fallback=True))
    if not crossing:
        training.pre_tokenizer = pre_tokenizers.Metaspace()
    training.train_from_iterator([text.replace(" ", "▁") for text in CORPUS] if crossing else CORPUS, trainer)
    file = json.loads(training.to_str())
    file["added_tokens"] = [token for token in file["added_tokens"] if token["id"] < 3]
    file["model"]["unk_token"] = "<unk>"
    for part in ("normalizer", "pre_tokenizer"):
        made = parts.get(part)
        file[part] = json.loads(made.__getstate__()) if made else None
    path = tmp_path / "marked.json"
    path.write_text(json.dumps(file))
    return path


LLAMA = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": LLAMA},
        {"normalizer": LLAMA, "crossing": True},
        {"normalizer": normalizers.Replace(" ", "▁")},
        {
            "normalizer": normalizers.Replace(" ", "▁"),
            "pre_tokenizer": pre_tokenizers.Split(" ", "merged_with_previous"),
        },
        {"pre_tokenizer": pre_tokenizers.Metaspace("▁", "always")},
        {"pre_tokenizer": pre_tokenizers.Metaspace("▁", "first", split=False)},
        {"pre_tokenizer": pre_tokenizers.Metaspace("▁", "never")},
    ],
)
def test_files_with_marked_spaces_are_read(tmp_path: Path, parts: dict[str, Any]) -> None:
    path = marked(tmp_path, **parts)
    values = [value for value in TEXTS if value != END_OF_DOCUMENT]
    assert_ids_of_the_library(path, values)
    # Metaspace puts no mark before a text that begins with a space, so that space cannot be told from the mark.
    lost = "▁ " if "pre_tokenizer" in parts else "▁"
    assert_round_trip(path, [value for value in values if ("▁" not in value and value[:1] not in lost) or not value])


@pytest.mark.parametrize(
    "steps",
    [
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)],
        [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(False)],
        [
            pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"),
            pre_tokenizers.Split(Regex(r"[一-龥]+"), "isolated"),
            pre_tokenizers.Split(Regex(with_digits("gpt4", "pattern")), "isolated"),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ],
        [pre_tokenizers.Split("-", "isolated"), pre_tokenizers.ByteLevel(False)],
    ],
)
@pytest.mark.parametrize("normalizer", [None, normalizers.NFC()])
def test_files_with_several_steps_are_read(tmp_path: Path, steps: list[Any], normalizer: Any) -> None:
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.Sequence(steps)
    theirs.decoder = decoders.ByteLevel()
    if normalizer:
        theirs.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    theirs.train_from_iterator(CORPUS, trainer)
    theirs.save(str(tmp_path / "steps.json"))
    values = [*TEXTS, "e\u0301 10-20 2024年12月"]
    assert ids(tmp_path / "steps.json", values) == [theirs.encode(value).ids for value in values]


def test_a_file_that_lacks_a_byte_is_refused(tmp_path: Path) -> None:
    file = json.loads(marked(tmp_path).read_text())
    del file["model"]["vocab"]["<0x0A>"]
    (tmp_path / "less.json").write_text(json.dumps(file))
    with pytest.raises(DataError, match="no token stands for the byte 0x0a"):
        open_encoder(tmp_path / "less.json")


# -- shapes that others publish --------------------------------------------------------------------------------

HOSTILE = [
    *TEXTS,
    "it's  IT'S 12345 67-89",
    "ab\u200dc d\u200ce f",
    "\u2014\u00ab$5 + <x> ^`|~\u00bb!",
    "e\u0301 a\u0323\u0301",
    "x\n\ny.\r\n  z",
    "<tool_call>{}</tool_call>",
    "    four  two        eight",
    "\u00b2\u00b3\u00b9\u00bc_a",
    "\U0001f469\u200d\U0001f4bb \u0e01\u0e33",
]


def byte_level(
    tmp_path: Path, *steps: Any, normalizer: Any = None, added: list[Any] | None = None, **changes: Any
) -> Path:
    """A byte-level file of the library with these steps before ByteLevel."""
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(False, use_regex=not steps)])
    if normalizer:
        theirs.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    theirs.train_from_iterator(CORPUS, trainer)
    if added:
        theirs.add_tokens(added)
    theirs.add_special_tokens(["<|im_end|>", "</s>"])
    path = tmp_path / "made.json"
    path.write_text(json.dumps({**json.loads(theirs.to_str()), **changes}))
    return path


def regex(pattern: str, behavior: str = "isolated") -> Any:
    return pre_tokenizers.Split(Regex(pattern), behavior)


SPACES = [AddedToken(" " * n, normalized=True, special=False) for n in range(2, 9)]
TOOLS = [AddedToken(name, normalized=False, special=False) for name in ("<tool_call>", "</tool_call>", "<tool")]


@pytest.mark.parametrize(
    "parts",
    [
        {"steps": [regex(r"(?i:'s|'t)|(?m:\d.+)|\p{L}+|[^\p{L}]")]},
        {"steps": [regex(r"(?m)y.+|\w+")]},
        {"steps": [regex(r"a(?i)b|IT|z")]},
        {"steps": [regex(r"\b")]},
        {"steps": [regex(r"\B.")]},
        {"steps": [regex(r"\b\w+\b")]},
        {"steps": [regex(r"[[:punct:]]+")]},
        {"steps": [regex(r"[^[:punct:]a]+")]},
        {"steps": [regex(r"[[:^punct:]]")]},
        {"steps": [regex(r"[[:alpha:]]+|[[:space:]]+|[[:digit:]]")]},
        {"steps": [], "added": SPACES, "normalizer": normalizers.NFC()},
        {"steps": [regex(with_digits("gpt4", "pattern"))], "added": TOOLS, "normalizer": normalizers.NFC()},
        {"steps": [], "added": [*TOOLS, *SPACES, AddedToken("e\u0301", normalized=True, special=False)]},
    ],
)
def test_shapes_of_others_give_the_ids_of_the_library(tmp_path: Path, parts: dict[str, Any]) -> None:
    path = byte_level(tmp_path, *parts.pop("steps"), **parts)
    assert_ids_of_the_library(path, HOSTILE)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=" ab<tol_cal>/\u0301e", max_size=40))
def test_added_tokens_are_found_as_the_library_finds_them(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "made.json"
    if not path.exists():
        byte_level(path.parent, normalizer=normalizers.NFC(), added=[*TOOLS, *SPACES])
    assert_ids_of_the_library(path, [text])


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"steps": [pre_tokenizers.ByteLevel(False)]}, "ByteLevel twice"),
        ({"added": [AddedToken("<a>", single_word=True)]}, "'<a>' sets single_word"),
        ({"added": [AddedToken("<a>", lstrip=True, rstrip=True)]}, "sets lstrip and rstrip"),
        ({"steps": [regex(r"\X")]}, "is not a valid regular expression"),
        ({"steps": [regex("a", "removed")]}, "the behavior Removed"),
        ({"steps": [pre_tokenizers.Punctuation()]}, "has a step Punctuation"),
        ({"normalizer": normalizers.NFKC()}, "NFKC would change the text"),
    ],
)
def test_shapes_whose_ids_would_differ_are_refused(tmp_path: Path, parts: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        open_encoder(byte_level(tmp_path, *parts.pop("steps", []), **parts))


def test_the_token_that_ends_documents_is_the_files_own_or_named(tmp_path: Path) -> None:
    tokenizer = read_tokenizer(byte_level(tmp_path, truncation={"max_length": 5}, added=TOOLS))
    assert tokenizer.end_of_document() == tokenizer.special_tokens["</s>"]
    assert tokenizer.end_of_document("<|im_end|>") == tokenizer.special_tokens["<|im_end|>"]
    assert tokenizer.ignored == ("its truncation is not applied",)
    with pytest.raises(ConfigError, match=r"end_of_document '<eos>' .* which has: <\|im_end\|>, </s>, <tool_call>"):
        tokenizer.end_of_document("<eos>")


def test_merges_that_make_no_token_are_refused_in_words(tmp_path: Path) -> None:
    file = json.loads(byte_level(tmp_path).read_text())
    left, right = file["model"]["merges"][0]
    del file["model"]["vocab"][left + right]
    file["model"]["merges"] = file["model"]["merges"][:1]
    (tmp_path / "less.json").write_text(json.dumps(file))
    with pytest.raises(DataError, match=r"merge 0 .* makes a token that the vocabulary lacks"):
        open_encoder(tmp_path / "less.json")
