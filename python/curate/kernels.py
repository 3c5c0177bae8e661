"""The Rust core as pyarrow sees it: a column in, columns out. Only chunks are copied, into one array.

_rust.pyi describes each function in full; here stands what comes back. Rows of text are UTF-8, places in them bytes.
Errors are ValueError with the value, the row and the limit.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import pyarrow as pa

from curate import _rust

Texts: TypeAlias = pa.Array | pa.ChunkedArray


def whole(column: Texts) -> pa.Array:
    """The column as one array: Arrow's C interface carries no chunks."""
    if isinstance(column, pa.ChunkedArray):
        # The last chunk of a mapped channel is empty: what lies in one other is not copied.
        full = [chunk for chunk in column.chunks if len(chunk)]
        return full[0] if len(full) == 1 else column.combine_chunks()
    return column


def _chunks(column: Texts) -> list[pa.Array]:
    """The arrays that a column consists of, as they lie."""
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


_LARGE_BATCH = 4 << 20  # bytes of pages that take some ten times as much memory while they are extracted


def _give_back() -> None:
    """Give memory that Arrow holds in reserve back to the system, before a kernel that takes much."""
    pa.default_memory_pool().release_unused()


def cpu_path() -> str:
    """The instruction set in use: "avx512", "avx2" or "portable"; the variable CURATE_CPU forces a lower one."""
    return _rust.cpu_path()


def nfc(text: Texts) -> pa.Array:
    """Every row in Unicode normalization form C: large_string."""
    return pa.array(_rust.nfc(whole(text)))


def tidy(text: Texts, max_blank_lines: int) -> pa.Array:
    """Every row in one form of line ends, spaces, characters and empty lines (normalize says which): large_string."""
    return pa.array(_rust.tidy(whole(text), max_blank_lines))


def sha256(text: Texts) -> pa.Array:
    """SHA-256 of every row: fixed_size_binary(32)."""
    return pa.array(_rust.sha256(whole(text)))


def minhash_sign(
    text: Texts,
    *,
    ngram: int,
    bands: int,
    rows: int,
    seed: int,
    scheme: str = "classic",
    parameters: tuple[pa.Array, pa.Array] | None = None,
    shingles: bool = True,
) -> tuple[pa.Array, pa.Array]:
    """(keys: fixed_size_list<uint64>[bands], null for a row of fewer than `ngram` words; shingles: large_list<uint64>).

    `rows` are the MinHash values in a band, and not rows of a table.
    """
    keys, sets = _rust.minhash_sign(
        whole(text),
        ngram=ngram,
        bands=bands,
        rows=rows,
        seed=seed,
        scheme=scheme,
        parameters=parameters,
        shingles=shingles,
    )
    return pa.array(keys), pa.array(sets)


def minhash_slots(hashes: Texts, *, slots: int, seed: int, scheme: str = "classic") -> pa.Array:
    """The MinHash values of each row of shingle hashes: fixed_size_list<uint32>[slots]."""
    return pa.array(_rust.minhash_slots(whole(hashes), slots, seed, scheme))


def mersenne_slots(hashes: Texts, a: pa.Array, b: pa.Array, *, mask: int) -> pa.Array:
    """MinHash values as in datasketch (mask 2^32 - 1) or datatrove (2^64 - 1): fixed_size_list<uint64>[len(a)]."""
    return pa.array(_rust.mersenne_slots(whole(hashes), a, b, mask))


def lsh_buckets(key: Texts, doc_id: Texts) -> tuple[pa.Array, pa.Array, pa.Array]:
    """(first, key, member): for every key of two or more ids, each id but the one of the first row, which is `first`.

    Sorted by key, members of a key in the order of their rows. Ids are fixed_size_binary(16), keys uint64.
    """
    first, keys, member = _rust.lsh_buckets(whole(key), whole(doc_id))
    return pa.array(first), pa.array(keys), pa.array(member)


def bucket_pairs(
    members: pa.Table,
    documents: list[tuple[pa.Array, pa.Array]] | None,
    *,
    min_jaccard: float,
    all: bool,
) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
    """(a, b, jaccard: float64, links: uint8), a < b, of bucket members that are alike; pairs of one `first` stand
    together.

    `members` has the columns of lsh_buckets, `documents` are (doc_id, shingles) in parts; with None nothing is
    compared, and each member pairs with its bucket's first. `all` reports pairs that connect nothing new, too: `links`
    is 0 for those.
    """
    a, b, jaccard, links = _rust.bucket_pairs(
        _parts(members, "first", "key", "member"), documents, min_jaccard=min_jaccard, all=all
    )
    return pa.array(a), pa.array(b), pa.array(jaccard), pa.array(links)


def jaccard(shingles: Texts, a: Texts, b: Texts) -> pa.Array:
    """Exact Jaccard similarity of rows a[i] and b[i] (uint32) of `shingles`: float64, 0..1."""
    return pa.array(_rust.jaccard(whole(shingles), whole(a), whole(b)))


def clusters(pairs: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Connected components of (doc_a, doc_b): (doc_id sorted, root: uint32, the row of the component's smallest id)."""
    doc_id, root = _rust.clusters(_parts(pairs, "doc_a", "doc_b"))
    return pa.array(doc_id), pa.array(root)


def cluster_heads(
    members: pa.Table, shingles: list[pa.Array], *, bands: int, min_jaccard: float | None, per_key: int
) -> tuple[pa.Array, pa.Array, int]:
    """(head: uint32, similarity: float64, beyond) of the members of clusters.

    `members` has the columns group, fixed, part, row and keys (lists of `bands` band keys); those of a group stand
    together in keep order. head is the row of the member that it goes for, its own where it stays. With `min_jaccard`
    it is alike to that one by as much; with None it is the first of the group. `per_key` members that stay are compared
    with others of the same key, `beyond` is the number of those left out.
    """
    group, fixed, part, row, keys = (whole(members.column(name)) for name in ("group", "fixed", "part", "row", "keys"))
    head, similarity, beyond = _rust.cluster_heads(
        group, fixed, part, row, keys.flatten(), shingles, bands=bands, min_jaccard=min_jaccard, per_key=per_key
    )
    return pa.array(head), pa.array(similarity), beyond


def cluster_differences(
    part: pa.Array, row: pa.Array, ends: pa.Array, shingles: list[pa.Array]
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """(variants, varying: uint32, share: float64) of each cluster, whose members end at `ends` (int64).

    The first member is compared with the others: variants are the different sets of shingles among these, varying the
    shingles of the first that a quarter of them lack, share is that of these among all that is lacking, 0 to 1.
    """
    variants, varying, share = _rust.cluster_differences(part, row, ends, shingles)
    return pa.array(variants), pa.array(varying), pa.array(share)


def id_places(parts: list[pa.Array], ids: Texts) -> tuple[pa.Array, pa.Array]:
    """(part, row), both uint32, of each of `ids` (sorted, distinct) in the parts; 2^32 - 1 where it is in none."""
    part, row = _rust.id_places(parts, whole(ids))
    return pa.array(part), pa.array(row)


def anchors(text: Texts, *, min_length: int) -> tuple[pa.Array, pa.Array, pa.Array]:
    """(row: uint32, hash: uint64, place: uint64) of the anchors of every row: equal stretches of `min_length` bytes
    hold anchors of one hash."""
    row, hashes, place = _rust.anchors(whole(text), min_length=min_length)
    return pa.array(row), pa.array(hashes), pa.array(place)


def repeats(
    anchors: pa.Table, texts: list[pa.Array], *, min_length: int, per_anchor: int
) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array, int]:
    """(anchor: uint32, start: uint64, end: uint64, other: uint32, beyond) of stretches of `min_length` bytes and more
    around anchors that stand in an earlier place, too.

    `anchors` has the columns hash, part, row (of `texts`) and place, in the order in which texts stay. start and end
    are bytes of the text, other is the earlier anchor, beyond counts anchors that were not compared with all.
    """
    hashes, part, row, place = (whole(anchors.column(name)) for name in ("hash", "part", "row", "place"))
    anchor, start, end, other, beyond = _rust.repeats(
        hashes, part, row, place, texts, min_length=min_length, per_anchor=per_anchor
    )
    return pa.array(anchor), pa.array(start), pa.array(end), pa.array(other), beyond


def word_counts(text: Texts, *, words: int) -> tuple[pa.Array, pa.Array]:
    """(bucket, count), large_list<uint32>, of the first `words` words of every row; buckets are 2^16, ascending."""
    bucket, count = _rust.word_counts(whole(text), words=words)
    return pa.array(bucket), pa.array(count)


def word_basis(bucket: Texts, count: Texts, idf: pa.Array, *, dim: int, seed: int) -> pa.Array:
    """float32, `dim` values a bucket: an orthonormal basis of what rows of word_counts, weighed by `idf`, vary most
    in."""
    return pa.array(_rust.word_basis(whole(bucket), whole(count), idf, dim=dim, seed=seed))


def word_vectors(bucket: Texts, count: Texts, idf: pa.Array, basis: pa.Array, *, dim: int) -> pa.Array:
    """int16, `dim` values a row of word_counts: its vector of length 8192; zeros for a row without words."""
    return pa.array(_rust.word_vectors(whole(bucket), whole(count), idf, basis, dim=dim))


def vector_centers(vectors: pa.Array, *, dim: int, k: int, rounds: int, seed: int) -> pa.Array:
    """int16, `dim` values for each of `k` centers of vectors (int16, `dim` each), by spherical k-means from a seed."""
    return pa.array(_rust.vector_centers(vectors, dim=dim, k=k, rounds=rounds, seed=seed))


def nearest_centers(vectors: pa.Array, centers: pa.Array, *, dim: int) -> tuple[pa.Array, pa.Array]:
    """(nearest, second nearest: uint32) center of each vector; both the same where there is one."""
    first, second = _rust.nearest_centers(vectors, centers, dim=dim)
    return pa.array(first), pa.array(second)


def alike_vectors(
    vectors: pa.Array, ends: pa.Array, *, dim: int, least: int, per_vector: int
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """(row, other: uint32, dot: int32) of pairs of vectors of one cluster, with dots of `least` and more.

    Clusters end at `ends` (int64), and their vectors are in keep order: one is paired with the `per_vector` nearest of
    those before it that were like none before them.
    """
    row, other, dot = _rust.alike_vectors(vectors, ends, dim=dim, least=least, per_vector=per_vector)
    return pa.array(row), pa.array(other), pa.array(dot)


def suffix_array(text: bytes) -> pa.Array:
    """Every place of `text` in the order of what follows it: uint32."""
    return pa.array(_rust.suffix_array(pa.array([text], pa.large_binary())))


def text_units(text: pa.Array, *, unit: str) -> tuple[pa.Array, pa.Array]:
    """(rows, bounds): int64; row i has the units rows[i] to rows[i + 1], unit j the bytes bounds[j] to bounds[j + 1].

    `unit` is line, paragraph or sentence. Bytes are counted over all rows, one after the other.
    """
    rows, bounds = _rust.text_units(text, unit=unit)
    return pa.array(rows), pa.array(bounds)


def _parts(table: pa.Table, *names: str) -> list[tuple[pa.Array, ...]]:
    """The columns of each batch of a table. Batches stay where they lie, as a rule in mapped files: none is copied."""
    return [tuple(batch.column(name) for name in names) for batch in table.select(list(names)).to_batches()]


class ItemIndex(NamedTuple):
    """The columns of an index of benchmark items; _rust.pyi says what each holds."""

    question: pa.Array
    frequency: pa.Array
    option: pa.Array
    answer: pa.Array
    gram: pa.Array
    item: pa.Array
    place: pa.Array
    state: pa.Array
    word: pa.Array
    items: pa.Array


def index_items(
    question: Texts, option: Texts, option_count: Texts, answer: Texts, *, n: int, max_items: int, ngrams: bool
) -> ItemIndex:
    """The index of items whose texts are the rows of question and answer, and the next option_count rows of option."""
    columns = (whole(one) for one in (question, option, option_count, answer))
    return ItemIndex(*map(pa.array, _rust.index_items(*columns, n=n, max_items=max_items, ngrams=ngrams)))


def count_stretches(text: Texts, words: Texts) -> tuple[pa.Array, int]:
    """(in how many stretches of 200 words each of `words` stands: uint32, how many stretches there are)."""
    counts, stretches = _rust.count_stretches(whole(text), whole(words))
    return pa.array(counts), stretches


def word_weights(in_items: Texts, in_stretches: Texts, *, items: int, stretches: int) -> pa.Array:
    """What each word weighs, in 1/256 bit: uint16."""
    return pa.array(_rust.word_weights(whole(in_items), whole(in_stretches), items=items, stretches=stretches))


class FoundItems(NamedTuple):
    """Items found in a column of texts; evidence is negative where an item has neither options nor answer."""

    row: pa.Array
    item: pa.Array
    score: pa.Array
    limit: pa.Array
    evidence: pa.Array
    sure: pa.Array
    start: pa.Array
    end: pa.Array


class AlignedFinder:
    """The rule of seeds and alignment over the columns of an ItemIndex, opened once a worker."""

    def __init__(self, columns: Mapping[str, Texts], weight: Texts, *, n: int) -> None:
        """`columns` are by name those of ItemIndex, and option_count; `weight` is that of each of `word`."""
        names = ("question", "frequency", "option", "option_count", "answer", "gram", "item", "place", "word")
        c = {name: whole(columns[name]) for name in names}
        self._finder = _rust.AlignedFinder(
            c["question"], c["frequency"], c["option"], c["option_count"], c["answer"], c["gram"], c["item"],
            c["place"], c["word"], whole(weight), n=n,
        )  # fmt: skip

    def find(self, text: Texts) -> FoundItems:
        """The items in each row, the best of each span, by row and place."""
        return FoundItems(*map(pa.array, self._finder.find(whole(text))))


class NgramFinder:
    """A rule that counts n-grams, over the columns of an ItemIndex, opened once a worker."""

    def __init__(self, columns: Mapping[str, Texts], length: Texts, *, n: int, counting: str, share: float) -> None:
        """`columns` are by name those of ItemIndex; `length` (uint32) is the number of words of each item."""
        gram, item, place = (whole(columns[name]) for name in ("gram", "item", "place"))
        self._finder = _rust.NgramFinder(gram, item, place, whole(length), n=n, counting=counting, share=share)

    def find(self, text: Texts) -> FoundItems:
        """The items in each row, by row and place."""
        return FoundItems(*map(pa.array, self._finder.find(whole(text))))


class Languages:
    """A language model (language.py makes its file), opened once a worker; labels[i] is the language of column i."""

    def __init__(self, file: bytes) -> None:
        self._model = _rust.Languages(file)
        self.labels: list[str] = self._model.labels

    def identify(self, text: Texts, *, characters: int) -> tuple[pa.Array, pa.Array]:
        """(column: int32, probability: float32) of every row, by its first `characters` characters."""
        language, probability = self._model.identify(whole(text), characters=characters)
        return pa.array(language), pa.array(probability)


def prepare_languages(
    labels: list[str], priors: pa.Array, weights: pa.Array, rows: pa.Array, row: pa.Array, feature: pa.Array
) -> bytes:
    """The file of a language model, from the arrays of py3langid's."""
    return _rust.prepare_languages(labels, priors, weights, rows, row, feature)


def extract_html(
    pages: Texts,
    charsets: Texts,
    *,
    format: str = "text",
    links: str = "text",
    images: str = "drop",
    comments: str = "keep",
    policies: Sequence[str] = ("balanced",),
    model: bytes | None = None,
) -> pa.StructArray:
    """The main content of every page: a struct of text, score and share by the first policy, the same with `_POLICY`
    after their names by each of the others, title, language, page_type, page_type_score, encoding, n_replaced, error,
    and blocks (by the first policy) where that is the format.

    A charset "" is none. `format` is text, markdown or blocks, `links` text, inline, reference or drop, `images` drop,
    alt or inline, `comments` keep or drop, a policy balanced, precision or recall, `model` the bytes of a model file
    other than the package's own.
    """
    form = {"format": format, "links": links, "images": images, "comments": comments}
    if pages.nbytes >= _LARGE_BATCH:
        _give_back()
    return pa.array(_rust.extract_html(whole(pages), whole(charsets), **form, policies=list(policies), model=model))


def decode_html(pages: Texts, charsets: Texts) -> pa.StructArray:
    """Every page as text: a struct of text, encoding (its name) and n_replaced (characters lost)."""
    return pa.array(_rust.decode_html(whole(pages), whole(charsets)))


def explain_html(
    page: bytes,
    charset: str | None = None,
    *,
    comments: str = "keep",
    policy: str = "balanced",
    model: bytes | None = None,
) -> list[tuple[str, str, float, float, bool, str, str, list[tuple[str, float, float]]]]:
    """(text, path, first, probability, kept, unit, why, [(feature, value, moved)]) of every block of one page.

    first and probability are those of the first and the second stage of the model, 0..1; unit names the units around
    the block, outermost first; why says why it is kept or not; moved is in log-odds.
    """
    return _rust.explain_html(page, charset, comments=comments, policy=policy, model=model)


def html_features() -> list[tuple[str, str, str]]:
    """(name, unit, definition) of every feature; those of the first stage come first."""
    return _rust.html_features()


def html_blocks(pages: Texts, charsets: Texts) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array, pa.Array]:
    """(blocks a page: int64, their texts, their names: large_list<uint32>, their words, and what the kinds of the pages
    are learned from) for training.
    """
    counts, texts, names, words, kinds = _rust.html_blocks(whole(pages), whole(charsets))
    return pa.array(counts), pa.array(texts), pa.array(names), pa.array(words), pa.array(kinds)


def html_rows(pages: Texts, charsets: Texts, *, tables: bytes | None = None, said: pa.Array | None = None) -> pa.Array:
    """The features of all blocks, row after row: float32. They are those of the first stage of the model, or, where
    `said` gives that stage's probability of every block, of the second. `tables` are the weights of names, words and
    kinds of pages, as in a model file.
    """
    return pa.array(_rust.html_rows(whole(pages), whole(charsets), tables, said))


English = _rust.English


def signals(
    text: Texts,
    *,
    stop_words: Sequence[Sequence[str]] = (),
    list_of: pa.Array | None = None,
    english: English | None = None,
) -> pa.StructArray:
    """Every measure of every row: a struct of float64 fields.

    `list_of` is uint32, one a row: 0 for Gopher's English stop words, i for `stop_words[i - 1]`; None: 0 for all. With
    `english` datatrove's measures count spaCy's words in place of Unicode words.
    """
    lists = pa.array([], pa.uint32()) if list_of is None else list_of
    found = _rust.signals(whole(text), stop_words=[list(words) for words in stop_words], list_of=lists, english=english)
    return pa.array(found)


class Cuts(NamedTuple):
    """What rules on lines left of texts, and what they cut.

    row, start, end, rule and value have an entry a cut: spans are bytes of the text as it stood, a rule is a name of
    LINE_RULES, a value is null where the rule measures no number. The rest has an entry a text.
    """

    text: pa.Array
    row: pa.Array
    start: pa.Array
    end: pa.Array
    rule: pa.Array
    value: pa.Array
    n_sentences: pa.Array
    lorem_ipsum: pa.Array
    curly_bracket: pa.Array
    removed_word_share: pa.Array


LINE_RULES = tuple(_rust.line_rules())


def cut_lines(
    text: Texts,
    *,
    whose: str,
    limits: Mapping[str, float],
    lorem_ipsum: bool = True,
    curly_bracket: bool = True,
    english: English | None = None,
) -> Cuts:
    """Cut lines by the rules of `whose`: "c4@tfds", "c4@datatrove" or "refinedweb@dclm".

    `limits` have the rules that are on, by names of LINE_RULES. `lorem_ipsum` and `curly_bracket` say whether these
    end the reading of a text, which then keeps all of its lines.
    """
    left, cuts, measures = _rust.cut_lines(
        whole(text),
        whose=whose,
        limits=list(limits.items()),
        lorem_ipsum=lorem_ipsum,
        curly_bracket=curly_bracket,
        english=english,
    )
    row, start, end, rule, value = map(pa.array, cuts)
    names = pa.DictionaryArray.from_arrays(rule.cast(pa.int32()), pa.array(LINE_RULES))
    return Cuts(pa.array(left), row, start, end, names, value, *map(pa.array, measures))


def measures() -> list[tuple[str, str, str]]:
    """(name, unit, definition) of every measure, in the order of the fields of `signals`."""
    return _rust.measures()


def find_personal(text: Texts, *, kinds: Sequence[str]) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
    """(row, start, end: uint32, kind: string) of every personal value of these kinds, by row and start.

    Kinds are email, ip, phone, card, iban, ssn, mac, wallet, api_key and private_key; spans of a row do not overlap.
    """
    row, start, end, kind = _rust.find_personal(whole(text), kinds=list(kinds))
    return pa.array(row), pa.array(start), pa.array(end), pa.array(kind)


def replace_spans(
    text: Texts, row: Texts, start: Texts, end: Texts, kind: Texts, *, placeholder: str, realistic: bool = False
) -> pa.Array:
    """The text with every span replaced: large_string. Spans are sorted by row and start and do not overlap.

    {type} in `placeholder` is the kind in upper case, {n} the number of the value in its row; `realistic` puts made-up
    values in place of kinds that have some.
    """
    columns = [whole(column) for column in (text, row, start, end, kind)]
    return pa.array(_rust.replace_spans(*columns, placeholder=placeholder, realistic=realistic))


# -- bpe -----------------------------------------------------------------------------------------------------


def count_pretokens(text: Texts, *, pattern: str) -> tuple[pa.Array, pa.Array]:
    """(distinct pretokens: large_binary sorted, counts: int64)."""
    pretokens, counts = _rust.count_pretokens(whole(text), pattern=pattern)
    return pa.array(pretokens), pa.array(counts)


def add_counts(pretokens: Texts, counts: Texts) -> tuple[pa.Array, pa.Array]:
    """(distinct pretokens sorted, counts summed) over all chunks."""
    _give_back()
    parts = _chunks(pretokens), _chunks(counts)
    # The kernel takes chunks of equal lengths as they are; others are put together first.
    if [*map(len, parts[0])] != [*map(len, parts[1])]:
        parts = [whole(pretokens)], [whole(counts)]
    distinct, summed = _rust.add_counts(*parts)
    return pa.array(distinct), pa.array(summed)


def train_bpe(
    pretokens: Texts,
    counts: Texts,
    *,
    vocab_size: int,
    special_tokens: list[str],
    min_frequency: int = 0,
    max_token_length: int | None = None,
    characters: str | None = None,
    limit_alphabet: int | None = None,
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """(vocab: large_binary, the bytes of token i at row i; left, right: uint32, the merges in order as token ids)."""
    _give_back()
    vocab, left, right = _rust.train_bpe(
        whole(pretokens),
        whole(counts),
        vocab_size=vocab_size,
        special_tokens=special_tokens,
        min_frequency=min_frequency,
        max_token_length=max_token_length,
        characters=characters,
        limit_alphabet=limit_alphabet,
    )
    return pa.array(vocab), pa.array(left), pa.array(right)


def extend_bpe(
    tokens: Texts,
    counts: Texts,
    vocab: pa.Array,
    *,
    no_text: list[int],
    vocab_size: int,
    min_frequency: int = 0,
    max_token_length: int | None = None,
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """As train_bpe, from a model on. tokens: lists of its ids (uint32), a row a pretoken. vocab: the bytes of its
    tokens, whose ids stay; no merge makes those in `no_text`. left and right are the new merges alone."""
    _give_back()
    made = _rust.extend_bpe(
        whole(tokens), whole(counts), vocab, no_text=no_text, vocab_size=vocab_size, min_frequency=min_frequency,
        max_token_length=max_token_length,
    )  # fmt: skip
    found, left, right = map(pa.array, made)
    return found, left, right


def pack(lengths: Texts, *, row_length: int) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
    """(row, doc, start, length), all uint32, of every piece of a document in rows of `row_length` tokens.

    Packing is best fit decreasing; no token is lost. `lengths` are in tokens (uint32).
    """
    row, doc, start, length = _rust.pack(whole(lengths), row_length=row_length)
    return pa.array(row), pa.array(doc), pa.array(start), pa.array(length)


def pattern_expression(pattern: str) -> str:
    """The regular expression that a pattern's name stands for, or the pattern itself."""
    return _rust.pattern_expression(pattern)


def pretokenize(text: Texts, *, pattern: str) -> tuple[pa.Array, pa.Array, pa.Array]:
    """(row, start, end) of every piece, bytes of the row's text."""
    row, start, end = _rust.pretokenize(whole(text), pattern=pattern)
    return pa.array(row), pa.array(start), pa.array(end)
