"""The Rust core for repair, samples, classifiers and lists, as pyarrow sees it; kernels.py says what that means."""

import pyarrow as pa

from curate import _rust
from curate.kernels import Texts, whole


def windows(text: Texts, *, first: int, further: int, length: int, least: int) -> tuple[pa.Array, pa.Array]:
    """(row: int64, part: large_string): of every text the first `first` characters, and of one of `least` bytes or more
    `further` windows of `length` characters, spread evenly up to its end."""
    row, part = _rust.windows(whole(text), first=first, further=further, length=length, least=least)
    return pa.array(row), pa.array(part)


class MojibakeGate:
    """Finds lines that may be UTF-8 read as another encoding, opened once a worker.

    `encodings` are the 128 characters of bytes 80 to FF of each, NUL where a byte is none; a line with a character of
    `alone`, or a control character U+0080 to U+009F, is always given.
    """

    def __init__(self, encodings: list[str], alone: str) -> None:
        self._gate = _rust.MojibakeGate(encodings, alone)

    def lines(self, text: Texts) -> tuple[pa.Array, pa.Array, pa.Array]:
        """(row, start, end), all int64, of every such line with its newline, in order."""
        row, start, end = self._gate.lines(whole(text))
        return pa.array(row), pa.array(start), pa.array(end)


class Classifier:
    """A text classifier in fastText's file format, opened once a worker; ValueError where `file` is none."""

    def __init__(self, file: bytes) -> None:
        self._model = _rust.Classifier(file)
        self.labels: list[str] = self._model.labels

    def scores(self, text: Texts, *, form: str) -> pa.Array:
        """The probability of every label, 0..1: fixed_size_list<float32>[labels].

        The form in which texts are read is "raw"; "plain", that of plain_tokens; or "distinct", like plain with what
        stands in a text more than once counted once.
        """
        return pa.array(self._model.scores(whole(text), form=form))


def plain_tokens(text: Texts) -> pa.Array:
    """Every row as lower-cased words and single marks with spaces between them, numbers as 0: large_string."""
    return pa.array(_rust.plain_tokens(whole(text)))


class UrlLists:
    """Lists of domains, addresses and words, opened once a worker from (kind, bytes of the file) of each.

    added[i] is (entries, public suffixes among them, lines not read) of list i.
    """

    def __init__(self, files: list[tuple[str, bytes]], *, min_soft_words: int) -> None:
        self._lists = _rust.UrlLists(files, min_soft_words=min_soft_words)
        self.added: list[tuple[int, int, int]] = self._lists.added

    def find(self, urls: Texts) -> tuple[pa.Array, pa.Array]:
        """(number of the list: int32, -1 for none; entry: string, null for none) of every address."""
        lists, entries = self._lists.find(whole(urls))
        return pa.array(lists), pa.array(entries)


def url_sites(urls: Texts) -> pa.Array:
    """The site of every address by the public suffix list, example.co.uk for a.example.co.uk: string; "" for none."""
    return pa.array(_rust.url_sites(whole(urls)))


def ngram_hashes(text: Texts, *, n: int) -> pa.Array:
    """Hashes of the word n-grams of every row, in reading order: large_list<uint64>.

    Words are compared in lower case, without accents and apostrophes.
    """
    return pa.array(_rust.ngram_hashes(whole(text), n=n))


class PhraseFinder:
    """Word n-grams to look for (`grams`: hashes of ngram_hashes, sorted, distinct), opened once a worker."""

    def __init__(self, grams: Texts, *, n: int) -> None:
        self._finder = _rust.PhraseFinder(whole(grams), n=n)

    def find(self, text: Texts) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
        """(row, gram, start, end), all uint32, of every place of `text` with one of the n-grams, in order.

        gram is its place in `grams`; start and end are bytes of the row's text.
        """
        row, gram, start, end = self._finder.find(whole(text))
        return pa.array(row), pa.array(gram), pa.array(start), pa.array(end)
