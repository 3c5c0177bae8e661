"""The tokenizer beside `tokenizers`: training, memory, worst cases, packing; for encoding see `benchmarks.encoding`.

    python -m benchmarks.tokenizer                 # all, some 10 minutes, nearly all of it the peer's
    python -m benchmarks.tokenizer training --json

All on one thread, but for the count stage on two. Every result is checked: the same merges and vocabulary; a benchmark
whose outputs differ ends with an error and not with a figure.
"""

import os

os.environ["RAYON_NUM_THREADS"] = "1"  # one thread for the peers, as for us
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import json
import random
import string
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from benchmarks import texts
from benchmarks.harness import Report, measure, peak_memory, run
from curate import kernels
from curate.tokenizer.files import Model, tokenizer_json
from curate.tokenizer.model import END_OF_DOCUMENT, read_tokenizer
from curate.tokenizer.unigram import train_unigram

PATTERN = "gpt4"
SPECIAL = [END_OF_DOCUMENT]
BATCH = 8 << 20  # bytes of text that the count stage is given at a time


# -- training ------------------------------------------------------------------------------------------------


def batches(documents: Sequence[str] | Iterator[str]) -> Iterator[pa.Array]:
    """Columns of about BATCH bytes, as the run layer cuts them."""
    held: list[str] = []
    size = 0
    for text in documents:
        held.append(text)
        size += len(text)
        if size >= BATCH:
            yield texts.column(held)
            held, size = [], 0
    if held:
        yield texts.column(held)


def count(columns: Sequence[pa.Array] | Iterator[pa.Array]) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """The distinct pieces of every column, one after the other: what the count stage hands to the train stage."""
    counted = [kernels.count_pretokens(column, pattern=PATTERN) for column in columns]
    return pa.chunked_array([c[0] for c in counted]), pa.chunked_array([c[1] for c in counted])


def train(columns: Sequence[pa.Array] | Iterator[pa.Array], vocab_size: int) -> tuple[pa.Array, pa.Array, pa.Array]:
    pieces, counts = kernels.add_counts(*count(columns))
    return kernels.train_bpe(pieces, counts, vocab_size=vocab_size, special_tokens=SPECIAL)


def train_peer(documents: Sequence[str] | Iterator[str], vocab_size: int) -> Any:
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(kernels.pattern_expression(PATTERN)), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


def same_model(ours: tuple[pa.Array, pa.Array, pa.Array], theirs: Any) -> str:
    """A note that merges and vocabulary are equal; anything else is an error."""
    model, expected = Model(*ours, kernels.pattern_expression(PATTERN), SPECIAL), json.loads(theirs.to_str())["model"]
    if model.merges() != expected["merges"] or model.names() != list(expected["vocab"]):
        raise AssertionError("merges or vocabulary differ from those of `tokenizers`")
    return f"{len(expected['merges'])} merges and the vocabulary identical"


def training(report: Report) -> None:
    """From text to merges."""
    documents = texts.mixed()
    columns = list(batches(documents))
    beside_peer(report, columns, "32k", 32_000, rounds=2)
    counted = measure(lambda: count(columns))
    size = sum(map(texts.size, columns))
    report.row("bpe_count_90mb", counted.rate(size), "MB/s", counted.rounds, note="pieces counted in 8 MiB batches")
    pieces, counts = counted.result
    added = measure(lambda: kernels.add_counts(pieces, counts))
    report.row(
        "bpe_add_counts_90mb", added.cpu, "s", added.rounds, note=f"{len(pieces):,} counted pieces of 8 MiB batches"
    )
    pieces, counts = added.result
    merged = measure(lambda: kernels.train_bpe(pieces, counts, vocab_size=32_000, special_tokens=SPECIAL))
    report.row("bpe_merge_32k", merged.cpu, "s", merged.rounds, note=f"from {len(pieces):,} distinct pieces")


def beside_peer(report: Report, columns: list[pa.Array], name: str, vocab_size: int, rounds: int) -> None:
    documents = texts.mixed()
    ours = measure(lambda: train(columns, vocab_size))
    theirs = measure(lambda: train_peer(documents, vocab_size), rounds=rounds)
    note = same_model(ours.result, theirs.result)
    report.row(f"bpe_train_90mb_{name}", ours.cpu, "s", ours.rounds, "tokenizers", theirs.cpu, note)


def training_larger(report: Report) -> None:
    """Larger vocabularies; apart, because the peer needs a minute for each."""
    columns = list(batches(texts.mixed()))
    for name, vocab_size in [("64k", 64_000), ("128k", 128_000)]:
        beside_peer(report, columns, name, vocab_size, rounds=1)


def two_cores(report: Report) -> None:
    """The count stage by one thread and by two that take the next batch in turn; the kernel holds no lock of Python's.

    Wall time needs two idle cores. The CPU time of one thread by that of the busier of two does not: it says how
    evenly the work is split and what the second thread costs, whatever else the machine does.
    """
    columns = list(batches(texts.mixed()))

    def worker(rest: Iterator[pa.Array], seconds: list[float]) -> None:
        began = time.thread_time()
        count(rest)
        seconds.append(time.thread_time() - began)

    def by(threads: int) -> float:
        rest, seconds = iter(columns), list[float]()
        workers = [threading.Thread(target=worker, args=(rest, seconds)) for _ in range(threads)]
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join()
        return max(seconds)

    one, two = measure(lambda: by(1), rounds=9), measure(lambda: by(2), rounds=9)
    busiest = min(by(2) for _ in range(9))
    note = f"wall {one.wall:.2f} -> {two.wall:.2f} s, CPU of all threads {one.cpu:.2f} -> {two.cpu:.2f} s"
    report.row("bpe_count_two_cores", one.wall / two.wall, "x one", 9, note=f"{note}; needs two idle cores")
    note = f"CPU of one thread {one.cpu:.3f} s, of the busier of two {busiest:.3f} s"
    report.row("bpe_count_two_cores_split", one.cpu / busiest, "x one", 9, note=note)


# -- memory --------------------------------------------------------------------------------------------------


def stream(copies: int) -> Iterator[str]:
    """The mixed text, then copies of it in which ASCII letters stand for each other: other words of equal lengths.

    Natural text repeats its words; here every copy brings as many new ones as the first, so that memory grows
    in proportion to the text. That is more than 1 GB of real text asks for.
    """
    for copy in range(copies):
        letters = list(string.ascii_lowercase)
        random.Random(copy).shuffle(letters)
        shuffled = "".join(letters if copy else string.ascii_lowercase)
        table = str.maketrans(string.ascii_letters, shuffled + shuffled.upper())
        for text in texts.mixed():
            yield text.translate(table)


def train_copies(copies: int) -> int:
    """Trains on `copies` copies as the stage does: parts are counted, added up as they come, and merged at last."""
    from curate.stages.train_tokenizer import add_up

    parts: list[pa.Table] = []
    for column in batches(stream(copies)):
        parts.append(pa.table(kernels.count_pretokens(column, pattern=PATTERN), names=["pretoken", "count"]))
        if len(parts) == 16:
            parts = [add_up(pa.concat_tables(parts))]
    rows = add_up(pa.concat_tables(parts))
    del parts  # the stage reads them from mapped files
    kernels.train_bpe(rows.column("pretoken"), rows.column("count"), vocab_size=32_000, special_tokens=SPECIAL)
    return rows.num_rows


def train_peer_copies(copies: int) -> int:
    return int(train_peer(stream(copies), 32_000).get_vocab_size())


def load_only() -> None:
    """What reading the text costs without training."""
    texts.mixed()


def memory(report: Report) -> None:
    """Peak memory, each training in a process of its own; reading the text is taken off."""
    _, loaded, _ = peak_memory(load_only)
    _, ours, _ = peak_memory(train_copies, 1)
    _, theirs, _ = peak_memory(train_peer_copies, 1)
    note = f"above the {loaded:.0f} MB of a process that holds the text; in all {ours:.0f} and {theirs:.0f}"
    report.row("bpe_train_90mb_peak_memory", ours - loaded, "MB", 1, "tokenizers", theirs - loaded, note)
    half = peak_memory(train_copies, 6)
    whole = peak_memory(train_copies, 11)
    size = sum(len(text.encode()) for text in texts.mixed())
    note = f"{11 * size / 1e9:.2f} GB, {whole[2]:,} distinct pieces"
    report.row("bpe_train_1gb_distinct_peak_memory", whole[1] - loaded, "MB", 1, note=note)
    slope = (whole[1] - half[1]) / (5 * size / 1e9)
    ten = whole[1] - loaded + slope * (10 - 11 * size / 1e9)
    report.row(
        "bpe_train_10gb_distinct_computed", ten, "MB", 1, note=f"from the slope, {slope:,.0f} MB a GB; not measured"
    )


# -- worst cases ---------------------------------------------------------------------------------------------


@cache
def trained() -> Path:
    """A tokenizer.json of 32,000 tokens, trained on the mixed text."""
    folder = Path(tempfile.mkdtemp())
    model = train(list(batches(texts.mixed())), 32_000)
    content = tokenizer_json(Model(*model, kernels.pattern_expression(PATTERN), SPECIAL))
    (folder / "tokenizer.json").write_bytes(content)
    return folder / "tokenizer.json"


def worst_case(report: Report) -> None:
    """One piece of half a megabyte: the merge must not be quadratic."""
    encoder = read_tokenizer(trained()).encoder()
    for name, text in [("one_letter", "x" * (1 << 19)), ("no_spaces", "abcdefgh" * (1 << 17))]:
        column = texts.column([text])
        timing = measure(lambda c=column: encoder.encode(c), rounds=3)
        report.row(f"bpe_encode_{name}", timing.cpu, "s", 3, note=f"one piece of {len(text):,} bytes")


def unigram(report: Report) -> None:
    """The Unigram option, which is the `tokenizers` library's own work."""
    column = texts.column(texts.mixed(10_000_000))
    pieces, counts = kernels.count_pretokens(column, pattern=PATTERN)
    options = {"special_tokens": SPECIAL, "max_token_length": None, "expression": kernels.pattern_expression(PATTERN)}
    made = measure(lambda: train_unigram(pieces, counts, vocab_size=8_000, **options), rounds=1)
    content, size, _ = made.result
    note = f"{texts.size(column) / 1e6:.1f} MB, {len(pieces):,} distinct pieces, {size:,} tokens"
    report.row("unigram_train_10mb_8k", made.cpu, "s", 1, note=note)
    path = Path(tempfile.mkdtemp()) / "tokenizer.json"
    path.write_bytes(content)
    encoder, sample = read_tokenizer(path).encoder(), column.slice(0, len(column) // 4)
    encoded = measure(lambda: encoder.encode(sample), rounds=2)
    report.row("unigram_encode", encoded.rate(texts.size(sample)), "MB/s", 2, note="one thread, a document at a time")


# -- packing -------------------------------------------------------------------------------------------------


def packing(report: Report) -> None:
    """A million documents of lognormal lengths into rows; what is lost and how full the rows are."""
    draw = random.Random(1)
    lengths = pa.array([int(draw.lognormvariate(6, 1.2)) for _ in range(1_000_000)], pa.uint32())
    tokens = sum(lengths.to_pylist())
    for row_length in (512, 2048, 8192):
        timing = measure(lambda n=row_length: kernels.pack(lengths, row_length=n))
        row, _, _, length = timing.result
        rows, placed = row[-1].as_py() + 1, sum(length.to_pylist())
        note = f"{tokens - placed} tokens lost, {100 * placed / (rows * row_length):.3f} % full"
        report.row(f"bpe_pack_{row_length}", len(lengths) / timing.cpu, "documents/s", timing.rounds, note=note)


if __name__ == "__main__":
    groups = [training, training_larger, two_cores, memory, worst_case, unigram, packing]
    run("tokenizer", groups, ["tokenizers", "pyarrow"])
