"""The tokenizer gives what the `tokenizers` and `tiktoken` packages give, on every text that these tests think of."""

import base64
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tiktoken
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from curate import _rust
from curate.errors import DataError
from curate.tokenizer.files import Model, tokenizer_json
from curate.tokenizer.model import open_encoder, read_tokenizer

DATA = Path(__file__).parents[2].parent / "shared" / "data"
PATTERNS = ["gpt2", "gpt4", "qwen2", "o200k"]
CUSTOM = r"\w+|[^\w\s]+|\s+"
OTHERS = ["gpt2", "gpt4", "qwen2", CUSTOM]  # o200k is the longest of them
EOD = "<|endoftext|>"
# What the patterns treat specially, and what Unicode does: cases, marks, digits of other scripts, odd spaces.
AWKWARD = (
    "aZſ's'T'RE 've'lL 12345\t\r\n\n  /.!?\u00a0\u3000\u200b\u0301\u0903ǅʰªⅧ²¼٣中文日本語กไทยЖжéÉẞİı"
    "😀\u200d👩🏽\x00\x85\ufeff\U000105c0"
)

texts = st.one_of(st.text(max_size=40), st.text(alphabet=AWKWARD, max_size=40))


@pytest.fixture(scope="session")
def shared() -> Path:
    if not (DATA / "text").is_dir():
        pytest.skip(f"no real data at {DATA}")
    return DATA


def column(values: list[str]) -> pa.Array:
    return pa.array(values, pa.large_string())


def lists(result: Any) -> list[list[int]]:
    return pa.array(result).to_pylist()


def splitter(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(_rust.pattern_expression(pattern)), "isolated")


def split(values: list[str], pattern: str) -> list[list[str]]:
    pieces: list[list[str]] = [[] for _ in values]
    encoded = [value.encode() for value in values]
    for row, start, end in zip(*map(lists, _rust.pretokenize(column(values), pattern=pattern)), strict=True):
        pieces[row].append(encoded[row][start:end].decode())
    return pieces


def assert_pieces(values: list[str], pattern: str) -> None:
    expected = splitter(pattern)
    for value, pieces in zip(values, split(values, pattern), strict=True):
        assert pieces == [piece for piece, _ in expected.pre_tokenize_str(value)]


def reference(values: list[str], pattern: str, vocab_size: int, **options: Any) -> Any:
    """The same training by the `tokenizers` package."""
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([splitter(pattern), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        **options,
    )
    tokenizer.train_from_iterator(values, trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def train(values: list[str], pattern: str, vocab_size: int, **options: Any) -> tuple[Any, Any, Any]:
    pretokens, counts = _rust.count_pretokens(column(values), pattern=pattern)
    return _rust.train_bpe(pretokens, counts, vocab_size=vocab_size, special_tokens=[EOD], **options)


def save(path: Path, values: list[str], pattern: str, vocab_size: int, **options: Any) -> None:
    model = Model(*train(values, pattern, vocab_size, **options), _rust.pattern_expression(pattern), [EOD])
    path.write_bytes(tokenizer_json(model))


def assert_same_model(path: Path, expected: Any) -> None:
    ours, theirs = json.loads(path.read_text()), json.loads(expected.to_str())
    assert ours["model"]["merges"] == theirs["model"]["merges"]
    assert ours["model"]["vocab"] == theirs["model"]["vocab"]
    assert ours["added_tokens"] == theirs["added_tokens"]
    assert ours["pre_tokenizer"] == theirs["pre_tokenizer"]


# -- pieces ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["o200k", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_pieces_are_those_of_the_pattern_for_every_code_point(pattern: str) -> None:
    draw = random.Random(1)
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    draw.shuffle(points)
    # Every code point once, each followed by what could change how it is split.
    rest = ["", "", " ", "a", "A", "1", "\n", "'s", "."]
    mixed = [point + draw.choice(rest) for point in points]
    assert_pieces(["".join(mixed[at : at + 64]) for at in range(0, len(mixed), 64)], pattern)


@settings(max_examples=300, deadline=None)
@given(st.lists(texts, max_size=4))
def test_pieces_are_those_of_the_pattern(values: list[str]) -> None:
    for pattern in [*PATTERNS, CUSTOM, "a*", r"^\s*|$"]:
        assert_pieces(values, pattern)


@pytest.mark.parametrize("pattern", ["a(b", r"[a-", r"\p{Nonsense}"])
def test_a_bad_pattern_shows_the_position(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"not a valid regular expression: .+ at byte \d+"):
        _rust.pattern_expression(pattern)


# -- training ----------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(texts, st.text(alphabet="ab ", max_size=60)), max_size=8),
    st.integers(257, 320),
    st.integers(0, 3),
    st.one_of(st.none(), st.integers(1, 6)),
)
def test_training_equals_the_reference(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[str],
    vocab_size: int,
    min_frequency: int,
    max_token_length: int | None,
) -> None:
    path = tmp_path_factory.getbasetemp() / "small.json"
    options = {"min_frequency": min_frequency}
    if max_token_length is not None:
        options["max_token_length"] = max_token_length
    for pattern in ["gpt2", "gpt4"]:
        save(path, values, pattern, vocab_size, **options)
        assert_same_model(path, reference(values, pattern, vocab_size, **options))


def test_counts_of_parts_may_be_put_one_after_the_other() -> None:
    parts = [["low lower lowest"] * 3, ["newer low lower"] * 2, []]
    counted = [_rust.count_pretokens(column(part), pattern="gpt2") for part in parts]
    pretokens = pa.concat_arrays([pa.array(pretokens) for pretokens, _ in counted])
    counts = pa.concat_arrays([pa.array(counts) for _, counts in counted])
    model = _rust.train_bpe(pretokens, counts, vocab_size=270, special_tokens=[EOD])
    whole = train([text for part in parts for text in part], "gpt2", 270)
    assert [pa.array(part) for part in model] == [pa.array(part) for part in whole]


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(ValueError, match=r"vocab_size 256 is too small.*at least 257"):
        train(["some text"], "gpt2", 256)
    with pytest.raises(ValueError, match="2 pretokens but 1 counts"):
        _rust.train_bpe(pa.array([b"a", b"b"], pa.large_binary()), pa.array([1]), vocab_size=300, special_tokens=[])


def test_training_stops_where_nothing_is_left_to_merge() -> None:
    for values, merges in [([], 0), ([""], 0), (["a"], 0), (["aaaa"], 2)]:
        vocab, left, _ = train(values, "gpt2", 1000)
        assert (len(vocab), len(left)) == (257 + merges, merges)


# -- encoding ----------------------------------------------------------------------------------------------

CORPUS = [
    "The quick brown fox doesn't jump over the lazy dog's 12345 bones.\n\n  def f(x):\n\treturn x\n",
    "Быстрая лиса прыгает. الثعلب السريع يقفز فوق الكلب. 敏捷的棕色狐狸跳过懒狗。 ภาษาไทยไม่เว้นวรรค 😀😀",
    "aaaaaaaaaaaaaaaa bbbbbbbb " + "xyz" * 30,
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bpe") / "tokenizer.json"
    save(path, CORPUS * 3, "gpt4", 420)
    return path


def encode(encoder: _rust.Encoder, values: list[str]) -> list[list[int]]:
    return lists(encoder.encode(column(values)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(texts, st.sampled_from([*CORPUS, EOD, "a" * 300])), max_size=6))
def test_ids_equal_the_reference_and_decode_to_the_text(small: Path, values: list[str]) -> None:
    encoder, expected = open_encoder(small), Tokenizer.from_file(str(small))
    expected.encode_special_tokens = True
    ids = encode(encoder, values)
    assert ids == [expected.encode(value, add_special_tokens=False).ids for value in values]
    assert ids == encode(encoder, values), "the cache changes nothing"
    decoded = pa.array(encoder.decode(encoder.encode(column(values)))).to_pylist()
    assert decoded == [value.encode() for value in values]


@pytest.mark.parametrize("extra", [0, 70_000])
def test_lists_hold_the_ids_of_columns(small: Path, tmp_path: Path, extra: int) -> None:
    file = json.loads(small.read_text())
    # Ids of more than 16 bits: what follows the vocabulary's own tokens is never met.
    names = [f"{number:05d}" for number in range(extra)]
    file["model"]["vocab"] |= {name: number for number, name in enumerate(names, len(file["model"]["vocab"]))}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file))
    encoder, values = open_encoder(path), [*CORPUS, "", EOD, "中" * 300]
    assert encoder.vocab_size == 420 + extra
    assert encoder.encode_lists(values) == encode(encoder, values)
    assert encoder.encode_lists(values, end_of_document=0) == [[*ids, 0] for ids in encode(encoder, values)]
    assert encoder.encode_lists([]) == []
    with pytest.raises(ValueError, match="end_of_document 99999 is outside"):
        encoder.encode_lists(values, end_of_document=99999)
    with pytest.raises(ValueError, match="surrogate"):
        encoder.encode_lists(["\ud800"])


def test_rows_end_with_the_end_of_document(small: Path) -> None:
    tokenizer = read_tokenizer(small)
    assert tokenizer.end_of_document() == 0
    result = pa.array(tokenizer.encoder().encode(column(["", EOD, "a"]), end_of_document=0))
    assert result.type.value_type == pa.uint16()
    rows = result.to_pylist()
    assert rows[0] == [0] and rows[1][-1] == 0 and 0 not in rows[1][:-1] and len(rows[2]) == 2


@pytest.mark.parametrize("value", ["x" * (1 << 19), "abcdefgh" * (1 << 17), "中" * (1 << 18), " " * (1 << 19)])
def test_long_runs_take_no_quadratic_time(small: Path, value: str) -> None:
    # Quadratic merging of half a million letters would take minutes: the test would not end.
    encoder = open_encoder(small)
    ids = encoder.encode(column([value]))
    assert pa.array(encoder.decode(ids))[0].as_py() == value.encode()
    expected = Tokenizer.from_file(str(small))
    assert encode(encoder, [value[:20_000]]) == [expected.encode(value[:20_000]).ids]


def test_threads_share_an_encoder(small: Path) -> None:
    encoder, rows = open_encoder(small), column(CORPUS * 200)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: pa.array(encoder.encode(rows)), range(8)))
    assert all(result == results[0] for result in results)


def test_bad_rows_are_named(small: Path) -> None:
    encoder = open_encoder(small)
    with pytest.raises(ValueError, match=r"row 1: token id 420 at position 2 .* of 420 tokens"):
        encoder.decode(pa.array([[1], [1, 2, 420]], pa.large_list(pa.uint32())))
    with pytest.raises(ValueError, match="end_of_document 420 is outside the vocabulary"):
        encoder.encode(column(["a"]), end_of_document=420)
    with pytest.raises(ValueError, match="row 1"):
        encoder.encode(pa.array([b"ok", b"\xff"], pa.large_binary()))
    with pytest.raises(ValueError, match="row 0"):
        encoder.encode(column([None]))  # type: ignore[list-item]


# -- the file ----------------------------------------------------------------------------------------------


def test_the_file_is_named_by_its_bytes(small: Path, tmp_path: Path) -> None:
    save(tmp_path / "again.json", CORPUS * 3, "gpt4", 420)
    content = (tmp_path / "again.json").read_bytes()
    assert content == small.read_bytes() and hashlib.sha256(content).hexdigest() == read_tokenizer(small).sha256


def test_files_of_the_reference_are_read(tmp_path: Path) -> None:
    for pattern in PATTERNS:
        expected = reference(CORPUS * 3, pattern, 400)
        expected.save(str(tmp_path / "theirs.json"))
        assert encode(open_encoder(tmp_path / "theirs.json"), CORPUS) == [expected.encode(t).ids for t in CORPUS]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: f["model"].update(type="WordPiece"), "WordPiece, not BPE"),
        (lambda f: f["model"].update(byte_fallback=True), "byte_fallback, but no token stands for the byte 0x00"),
        (lambda f: f["model"].update(dropout=0.1), "dropout"),
        (lambda f: f["model"]["vocab"].pop("Ġ"), r"merge \d+ uses 'Ġ'"),
        (lambda f: f["model"]["vocab"].pop("ÿ"), "no token stands for the byte 0xff"),
        (lambda f: f["model"]["vocab"].update({"é ": 420}), "byte-level characters"),
        (lambda f: f["model"]["vocab"].update({"éé": 5}), "two tokens have the id 5"),
        (lambda f: f["model"].pop("merges"), "missing"),
        (lambda f: f.update(normalizer={"type": "Lowercase"}), "normalizer Lowercase"),
        (lambda f: f.update(pre_tokenizer={"type": "Whitespace"}), "Whitespace"),
        (lambda f: f.update(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True}), "add_prefix_space"),
        (lambda f: f["added_tokens"][0].update(special=False, lstrip=True), "sets lstrip"),
    ],
)
def test_files_of_another_kind_are_refused(small: Path, tmp_path: Path, change: Any, reason: str) -> None:
    file = json.loads(small.read_text())
    change(file)
    path = tmp_path / "other.json"
    path.write_text(json.dumps(file))
    with pytest.raises(DataError, match=reason):
        open_encoder(path)


def test_a_cut_or_absent_file_is_refused(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_bytes(small.read_bytes()[:-100])
    with pytest.raises(DataError, match="not whole JSON"):
        open_encoder(path)
    with pytest.raises(DataError, match="cannot read"):
        open_encoder(tmp_path / "absent.json")


# -- packing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row_length", [512, 2048, 8192])
def test_rows_are_full_and_nothing_is_lost(row_length: int) -> None:
    draw = random.Random(row_length)
    lengths = [min(int(draw.lognormvariate(6, 1.2)), 200_000) for _ in range(50_000)]
    rows, docs, starts, sizes = map(lists, _rust.pack(pa.array(lengths, pa.uint32()), row_length=row_length))
    used = [0] * (rows[-1] + 1)
    placed: dict[int, list[tuple[int, int]]] = {}
    for row, doc, start, size in zip(rows, docs, starts, sizes, strict=True):
        used[row] += size
        placed.setdefault(doc, []).append((start, size))
    assert rows == sorted(rows) and max(used) <= row_length
    for doc, length in enumerate(lengths):
        end = 0
        for start, size in sorted(placed.get(doc, [])):
            assert start == end
            end += size
        assert end == length
    assert sum(used) >= 0.999 * len(used) * row_length


def test_packing_refuses_rows_without_length() -> None:
    with pytest.raises(ValueError, match="row_length 0 is out of range"):
        _rust.pack(pa.array([1], pa.uint32()), row_length=0)


# -- real text ---------------------------------------------------------------------------------------------


def documents(shared: Path, folder: str) -> Iterator[str]:
    for path in sorted((shared / folder).glob("*.jsonl.zst")):
        with path.open("rb") as file:
            lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
            for line in lines:
                row = json.loads(line)
                yield next(value for key in ("text", "sentence", "content") if (value := row.get(key)))


@cache
def archive(shared: Path) -> dict[str, bytes]:
    data = zstandard.ZstdDecompressor().stream_reader((shared / "tok" / "tok.tar.zst").open("rb")).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]


@pytest.mark.realdata
@pytest.mark.parametrize("pattern", PATTERNS)
def test_pieces_of_75_languages(shared: Path, pattern: str) -> None:
    assert_pieces(list(documents(shared, "langid")), pattern)


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize("pattern", PATTERNS)
def test_real_text_trains_and_encodes_as_the_reference(shared: Path, pattern: str, tmp_path: Path) -> None:
    # Every twentieth document and sentence: some 4 MB of prose, mail, mathematics and 75 languages.
    values = [*documents(shared, "text")][::20] + [*documents(shared, "langid")][::20]
    path = tmp_path / "tokenizer.json"
    save(path, values, pattern, 8000)
    expected = reference(values, pattern, 8000)
    assert_same_model(path, expected)
    assert encode(open_encoder(path), values) == [e.ids for e in expected.encode_batch(values)]


@pytest.mark.realdata
@pytest.mark.slow
def test_every_document_encodes_as_the_reference(shared: Path, tmp_path: Path) -> None:
    values = [*documents(shared, "text"), *documents(shared, "langid")]
    path = tmp_path / "tokenizer.json"
    save(path, values, "gpt4", 32_000)
    expected = Tokenizer.from_file(str(path))
    expected.encode_special_tokens = True
    assert encode(open_encoder(path), values) == [e.ids for e in expected.encode_batch(values)]


def merges_of_ranks(ranks: dict[bytes, int]) -> list[tuple[int, int]]:
    """The last merge of every token: what its bytes become by the merges of lower rank."""
    merges = []
    for token, limit in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [bytes([byte]) for byte in token]
        while len(parts) > 2:
            rank, at = min((ranks.get(parts[i] + parts[i + 1], 1 << 30), i) for i in range(len(parts) - 1))
            assert rank < limit
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2:
            merges.append((ranks[parts[0]], ranks[parts[1]]))
    return merges


def golden(shared: Path, name: str, suffix: str) -> tuple[list[str], list[list[int]]]:
    files = archive(shared)
    text, ids = files[f"golden/{name}_input.txt"].decode(), files[f"golden/{suffix}"].decode()
    if name == "utf8":
        return [text], [[int(i) for i in ids.replace(",", " ").split()]]
    # A line is a text, its line ends and its spaces at the end escaped.
    rows = [line.replace("\\n", "\n").replace("\\s", " ") for line in text.split("\n") if line]
    return rows, [[int(i) for i in line.replace(",", " ").split()] for line in ids.splitlines()]


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["small", "mixed", "utf8"])
def test_golden_ids_of_gpt2(shared: Path, name: str, tmp_path: Path) -> None:
    files = archive(shared)
    merges = files["gpt2/vocab.bpe"].decode().splitlines()[1:]
    special = {"id": 50256, "content": EOD, "special": True}
    model = {"type": "BPE", "vocab": json.loads(files["gpt2/encoder.json"]), "merges": merges}
    path = tmp_path / "gpt2.json"
    path.write_text(json.dumps({"model": model, "added_tokens": [special], "pre_tokenizer": {"type": "ByteLevel"}}))
    encoder = open_encoder(path)
    for row, ids in zip(*golden(shared, name, f"tokenizers/{name}_tokens_gpt2.txt"), strict=True):
        # The golden ids were made with special tokens allowed in text.
        if EOD not in row:
            assert encode(encoder, [row]) == [ids]


@cache
def cl100k(shared: Path) -> tuple[dict[bytes, int], _rust.Encoder]:
    lines = archive(shared)["cl100k_base.tiktoken"].splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}
    left, right = zip(*merges_of_ranks(ranks), strict=True)
    tokens = sorted(ranks, key=ranks.__getitem__)
    return ranks, _rust.Encoder(
        pa.array(tokens, pa.large_binary()),
        pa.array(left, pa.uint32()),
        pa.array(right, pa.uint32()),
        pattern="gpt4",
        special_ids=[],
        ignore_merges=True,
    )


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["small", "mixed", "utf8"])
def test_golden_ids_of_cl100k(shared: Path, name: str) -> None:
    _, encoder = cl100k(shared)
    for row, ids in zip(*golden(shared, name, f"tiktoken/{name}_tokens_cl100k_base.txt"), strict=True):
        if EOD not in row:
            assert encode(encoder, [row]) == [ids]


@pytest.mark.realdata
def test_ids_equal_tiktoken(shared: Path) -> None:
    ranks, encoder = cl100k(shared)
    expected = tiktoken.Encoding(
        "cl100k", pat_str=_rust.pattern_expression("gpt4"), mergeable_ranks=ranks, special_tokens={}
    )
    values = [*documents(shared, "text")][::20] + [*documents(shared, "langid")][::5]
    assert encode(encoder, values) == [expected.encode_ordinary(value) for value in values]
