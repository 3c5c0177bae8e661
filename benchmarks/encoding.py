"""Encoding on one thread beside gigatoken and `tokenizers` 1.0, by kind of text and by script.

    python -m benchmarks.encoding                 # all, some minutes
    python -m benchmarks.encoding scripts --json

A vocabulary of 32,000 tokens of the gpt4 pattern, trained on the mixed text. The peers cannot be installed beside this
project's pins: each lives in an environment of its own (environments.py) and in a process of its own, and rounds of all
take turns, so that a change of the machine's load meets all of them. Documents whose ids differ end the run with an
error. Warm: an encoder that has encoded the same text before. Cold: a new one's first 10 MB, opening it left out.
"""

import json
import os
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from benchmarks import environments, texts
from benchmarks.encoding_peers import digest
from benchmarks.harness import Report, measure, run
from benchmarks.tokenizer import trained
from curate.tokenizer.model import read_tokenizer

FACES = {"gigatoken": ("batch", "array"), "tokenizers": ("single", "batch")}
"""What the peers' documentation calls fast; the faster of a peer's first round counts."""
ROUNDS = 15
FIRST = 10_000_000  # bytes that a new encoder is given
ENOUGH = 10_000_000  # smaller samples are encoded again and again, so that a round is not over within the clock's tick
SCRIPTS = {
    "hindi": "hi", "thai": "th", "chinese": "zh", "japanese": "ja", "korean": "ko", "russian": "ru", "greek": "el",
    "arabic": "ar", "hebrew": "he", "bengali": "bn", "tamil": "ta", "telugu": "te", "gujarati": "gu", "punjabi": "pa",
    "georgian": "ka", "armenian": "hy", "vietnamese": "vi",
}  # fmt: skip
SENTENCES = 40  # of the language samples that make one document


class Peer:
    """A peer's process."""

    def __init__(self, name: str, tokenizer: Path) -> None:
        script = Path(__file__).with_name("encoding_peers.py")
        self.name, self.faces = name, FACES[name]
        self._process = subprocess.Popen(
            [str(environments.python(name)), str(script), name, str(tokenizer)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": "", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
        self.version = self.ask("version")

    def ask(self, *command: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended without an answer to {command}")
        return json.loads(answer)

    def quickest(self) -> str:
        """The face that encodes the documents at hand fastest."""
        seconds = {face: float(self.ask("time", face, 1)) for face in self.faces}
        return min(seconds, key=seconds.__getitem__)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def cpu(work: Callable[[], Any]) -> float:
    """CPU seconds of this process."""
    return measure(work, rounds=1).cpu


class Sample:
    """Documents that all encoders have encoded, to the same ids."""

    def __init__(self, name: str, documents: list[str], peers: list[Peer]) -> None:
        self.name, self.documents, self.peers = name, documents, peers
        self.tokenizer = read_tokenizer(trained())
        self.encoder = self.tokenizer.encoder()
        self.give(documents)
        ids = digest(pa.array(self.encoder.encode(self.column)).to_pylist())
        for peer in peers:
            if peer.ask("ids") != ids:
                raise AssertionError(f"{name}: ids differ from those of {peer.name}")
        self.face = {peer.name: peer.quickest() for peer in peers}

    def give(self, documents: list[str]) -> None:
        """Make these documents everyone's input."""
        self.documents, self.column = documents, texts.column(documents)
        self.size = texts.size(self.column)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(documents, file)
            file.flush()
            for peer in self.peers:
                peer.ask("read", file.name)

    def rows(
        self, report: Report, way: str, ours: Callable[[], float], theirs: Callable[[Peer], float], size: int
    ) -> None:
        """A row for each peer, from rounds that take turns; `size` bytes are encoded a round."""
        best = dict.fromkeys(["", *(peer.name for peer in self.peers)], float("inf"))
        for _ in range(ROUNDS):
            best[""] = min(best[""], ours())
            for peer in self.peers:
                best[peer.name] = min(best[peer.name], theirs(peer))
        rates = {name: size / seconds / 1e6 for name, seconds in best.items()}
        note = f"{self.size / 1e6:.1f} MB, {len(self.documents):,} documents"
        for peer in self.peers:
            name = f"{way}_{self.name}_vs_{peer.name}"
            label = f"{peer.name} {peer.version}"
            report.row(name, rates[""], "MB/s", ROUNDS, label, rates[peer.name], note)

    def warm(self, report: Report) -> None:
        """Arrow in and out, beside each peer's best face."""
        again = max(1, ENOUGH // self.size)

        def ours() -> float:
            return cpu(lambda: [self.encoder.encode(self.column) and None for _ in range(again)])

        def theirs(peer: Peer) -> float:
            return float(peer.ask("time", self.face[peer.name], again))

        self.rows(report, "warm", ours, theirs, self.size * again)

    def cold(self, report: Report) -> None:
        """The same by an encoder that is new in every round."""
        self.give(list(first(self.documents)))

        def ours() -> float:
            encoder = self.tokenizer.encoder()
            return cpu(lambda: encoder.encode(self.column))

        def theirs(peer: Peer) -> float:
            return float(peer.ask("cold", self.face[peer.name]))

        self.rows(report, "cold", ours, theirs, self.size)

    def lists(self, report: Report) -> None:
        """Lists of str in, lists of int out."""

        def ours() -> float:
            return cpu(lambda: self.encoder.encode_lists(self.documents))

        self.rows(report, "lists", ours, lambda peer: peer.ask("time", "lists", 1), self.size)


def first(documents: list[str]) -> Iterator[str]:
    """Documents up to the one that reaches FIRST bytes."""
    size = 0
    for text in documents:
        if size >= FIRST:
            return
        size += len(text.encode())
        yield text


@cache
def domains() -> dict[str, list[str]]:
    """The documents of each domain, and of each language of the encyclopedia: "wiki.hi"."""
    found: dict[str, list[str]] = {}
    for name, language, text in texts.documents("text"):
        found.setdefault(f"{name}.{language}" if name == "wiki" else name, []).append(text)
    return found


def script(language: str) -> list[str]:
    """Articles and sentences of a language, some sentences a document."""
    sentences = [text for _, found, text in texts.documents("langid") if found == language]
    joined = ["\n".join(sentences[at : at + SENTENCES]) for at in range(0, len(sentences), SENTENCES)]
    return domains().get(f"wiki.{language}", []) + joined


def measured(report: Report, samples: Iterator[tuple[str, list[str]]], *, lists: bool) -> None:
    with Peer("gigatoken", trained()) as gigatoken, Peer("tokenizers", trained()) as tokenizers:
        for name, documents in samples:
            sample = Sample(name, documents, [gigatoken, tokenizers])
            sample.warm(report)
            if lists:
                sample.lists(report)
            sample.cold(report)


def kinds(report: Report) -> None:
    """English prose, source code, news and mail, and everything of text/ in a random order, which cold begins with."""
    found = domains()
    everything = [text for _, _, text in texts.documents("text")]
    random.Random(1).shuffle(everything)
    samples = {
        "english": found["books_en"],
        "code": list(texts.code()),
        "news": [text for pair in zip(found["news_reuters"], found["forum_20news"], strict=False) for text in pair],
        "text": everything,
    }
    measured(report, iter(samples.items()), lists=True)


def scripts(report: Report) -> None:
    """Languages of many scripts, which the vocabulary knows little of."""
    measured(report, ((name, script(language)) for name, language in SCRIPTS.items()), lists=False)


if __name__ == "__main__":
    run("encoding", [kinds, scripts], ["pyarrow"])
