"""The native kernels: Arrow columns in, Arrow columns out, the GIL released, no Python object a document.

A *column* argument is anything with `__arrow_c_array__` (a pyarrow Array). Text columns are string,
large_string, binary or large_binary; a null is an error that names its row. Results carry
`__arrow_c_array__`: `pa.array(result)` takes them without a copy. Lists of hits are flat columns with a
`row` column, sorted by (row, start). Errors are ValueError with the value, the row and the limit.
"""

from collections.abc import Sequence
from typing import Protocol, final, type_check_only

@type_check_only
class Arrow(Protocol):
    """What a column argument needs; a pyarrow Array has it, a ChunkedArray does not."""

    def __arrow_c_array__(self, requested_schema: object | None = None, /) -> object: ...

@final
class Column:
    """A result."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...
    def __len__(self) -> int: ...

def cpu_path() -> str:
    """Which kernels this process uses: "avx512", "avx2" or "portable" (CURATE_CPU forces a lower one)."""

# -- confine -----------------------------------------------------------------------------------------------

def confine() -> tuple[str | None, str | None]:
    """Take changes of files and the network from this thread and all that it starts, for good.

    Returns why each is still there: (files, network), None where it is gone.
    """

def probe_confinement() -> tuple[str | None, str | None]:
    """What `confine` would return here; nothing is given up."""

# -- html --------------------------------------------------------------------------------------------------

def extract_html(
    pages: Arrow,
    charsets: Arrow,
    *,
    format: str = "text",
    links: str = "text",
    images: str = "drop",
    comments: str = "keep",
    policies: list[str] = ...,
    model: bytes | None = None,
) -> Column:
    """The main content of every page: a struct of
    text: large_string, score (mean probability of the words chosen) and share (words chosen among the page's):
    float32, 0..1, by the first policy; text_POLICY, score_POLICY, share_POLICY by each of the others; title, language
    (as declared, lower case; "" for none) and page_type ("" for a page without text): large_string; page_type_score:
    float32, 0..1; encoding: large_string; n_replaced: uint32; error: string, null where the extractor did not fail.

    With the format blocks also blocks, by the first policy: large_list of struct of kind (string), level (uint8), text
    (large_string) and score (float32).

    `charsets` are those that the server declared, "" for none. `format` is text, markdown or blocks, `links` text,
    inline, reference or drop, `images` drop, alt or inline, `comments` keep or drop, a policy balanced, precision or
    recall; `model` is a model file, the package's own by default. Time is linear in the bytes of a page.
    """

def decode_html(pages: Arrow, charsets: Arrow) -> Column:
    """Every page as text: a struct of text and encoding (large_string), n_replaced (uint32)."""

def explain_html(
    page: bytes,
    charset: str | None = None,
    *,
    comments: str = "keep",
    policy: str = "balanced",
    model: bytes | None = None,
) -> list[tuple[str, str, float, float, bool, str, str, list[tuple[str, float, float]]]]:
    """(text, path, first, probability, kept, unit, why, [(feature, value, moved)]) of every block of one page.

    `first` and `probability` are what the first and the second stage said, `unit` names the units around the block
    (`table 3 > row 5`), `why` says why it is kept or not, `moved` how far a feature moved the second stage's log-odds,
    the farthest first.
    """

def html_features() -> list[tuple[str, str, str]]:
    """(name, unit, definition) of every feature, in the order of the rows."""

def html_blocks(pages: Arrow, charsets: Arrow) -> tuple[Column, Column, Column, Column, Column]:
    """(blocks a page: int64, texts: large_string, names, words: large_list<uint32>) of all blocks, and what the kind of
    each page is learned from (large_list<uint32>), for training."""

def html_rows(pages: Arrow, charsets: Arrow, tables: bytes | None = None, said: Arrow | None = None) -> Column:
    """The features of all blocks, row after row: float32.

    `tables` are the weights of names, words and kinds of pages (none: all zero); with `said` (float32, the first
    stage's probability of every block) the rows are those of the second stage.
    """

# -- language ----------------------------------------------------------------------------------------------

def prepare_languages(
    labels: list[str], priors: Arrow, weights: Arrow, rows: Arrow, row: Arrow, feature: Arrow
) -> bytes:
    """The file of a language model, from the arrays of py3langid's as they stand in its file.

    priors: float32, one a label. weights: uint16, the bits of 16-bit floats, [n-grams, labels]. rows: uint32, [distinct
    rows, 256] states; row: uint32, the row of each state; feature: int32, the n-gram that ends in each state, -1 for
    none. ValueError says what does not fit.
    """

@final
class Languages:
    """A language model. Opened once a worker; it releases the GIL; threads may share it."""

    def __init__(self, file: bytes) -> None:
        """`file` is what prepare_languages returned; ValueError where it is damaged or of another version."""
    @property
    def labels(self) -> list[str]:
        """The language of every column; several columns may stand for one, the first of them is given."""
    def identify(self, text: Arrow, *, characters: int) -> tuple[Column, Column]:
        """(column: int32, probability: float32) of every row, by its first `characters` characters.

        A text in capitals is taken in lower case. The probability is the softmax of score / sqrt(bytes). A text without
        an n-gram of the model gets a probability of 1 / columns, or that of as many columns as its language has.
        """

# -- text --------------------------------------------------------------------------------------------------

def tidy(text: Arrow, max_blank_lines: int) -> Column: ...
def nfc(text: Arrow) -> Column:
    """Every row in Unicode normalization form C: large_string. Time is n log n, whatever the text."""

def windows(text: Arrow, *, first: int, further: int, length: int, least: int) -> tuple[Column, Column]:
    """(row: int64, part: large_string) of every part: the first `first` characters of each text, and of one of `least`
    bytes or more `further` windows of `length` characters, spread evenly up to its end."""

@final
class MojibakeGate:
    """Finds lines that may be UTF-8 which was read as an encoding of one byte a character. Threads may share it."""

    def __init__(self, encodings: list[str], alone: str) -> None:
        """`encodings` are the characters of bytes 80 to FF of at most 16 of them, NUL where a byte is none. A line
        with a character of `alone`, or one of U+0080 to U+009F, is always given."""
    def lines(self, text: Arrow) -> tuple[Column, Column, Column]:
        """(row, start, end), all int64, of every line that needs to be looked at, its newline included.

        Without such a line no repair is possible. Time is linear.
        """

# -- classification ----------------------------------------------------------------------------------------

@final
class Classifier:
    """A supervised model in fastText's file format (.bin or .ftz). It releases the GIL; threads may share it."""

    def __init__(self, file: bytes) -> None:
        """`file` are the bytes of the model; ValueError says what is wrong with them."""
    @property
    def labels(self) -> list[str]:
        """The labels in the order of the scores, without `__label__`."""
    def scores(self, text: Arrow, *, form: str) -> Column:
        """The probability of every label: fixed_size_list<float32>[labels], 0..1, as fastText gives them.

        Line ends are white space. The form in which the model reads a text is "raw" (as it is), "plain" (in the form of
        plain_tokens), or "distinct" (like plain; what stands in a text more than once counts once). A text in which the
        model knows nothing has the same probability for every label. Time is linear.
        """

def plain_tokens(text: Arrow) -> Column:
    """Lower-cased words, single marks, and 0 for every number, each followed by a space: large_string."""

# -- phrases -----------------------------------------------------------------------------------------------

def ngram_hashes(text: Arrow, *, n: int) -> Column:
    """Hashes of the word n-grams of every row in reading order: large_list<uint64>.

    Empty where a row has fewer than n words.
    """

@final
class PhraseFinder:
    """Word n-grams to look for. Opened once a worker; threads may share it."""

    def __init__(self, grams: Arrow, *, n: int) -> None:
        """`grams` are hashes of n-grams of `n` words: uint64, sorted, distinct."""
    def find(self, text: Arrow) -> tuple[Column, Column, Column, Column]:
        """Every place with one of them: (row, gram: its place in grams, start, end), all uint32, bytes of the text."""

# -- addresses ---------------------------------------------------------------------------------------------

@final
class UrlLists:
    """Lists of hosts, addresses and words. It releases the GIL; threads may share it."""

    def __init__(self, files: list[tuple[str, bytes]], *, min_soft_words: int) -> None:
        """(kind, bytes) of each list; kinds are domains, urls, adblock, words, subwords, soft_words."""
    @property
    def added(self) -> list[tuple[int, int, int]]:
        """(entries, public suffixes among them, lines that are not read) of each list."""
    def find(self, urls: Arrow) -> tuple[Column, Column]:
        """(list: int32, entry: string) of every address: the first list that it is on, -1 and null where it is on none.

        Domains come first, then addresses, subwords, words, and words of which `min_soft_words` must be there.
        """

def url_sites(urls: Arrow) -> Column:
    """The registrable domain of every address by the public suffix list, or its host: string; "" without a host."""

# -- dedup -------------------------------------------------------------------------------------------------

def sha256(text: Arrow) -> Column:
    """SHA-256 of every row: fixed_size_binary(32)."""

def minhash_sign(
    text: Arrow,
    *,
    ngram: int = 5,
    bands: int = 14,
    rows: int = 8,
    seed: int = 1,
    scheme: str = "classic",
    parameters: tuple[Arrow, Arrow] | None = None,
    shingles: bool = True,
) -> tuple[Column, Column]:
    """Band keys and shingle hashes of every row.

    Returns (keys, shingles): keys is fixed_size_list<uint64>[bands], null for a row with fewer than `ngram`
    words; shingles is large_list<uint64>, the sorted distinct 64-bit hashes of its word n-grams.
    Words are maximal runs of `\\w` in the lower-cased text; unspaced scripts count each character.
    scheme is "classic" (independent permutations), "fss" (fast similarity sketch) or "datasketch", which takes
    its permutations (a, b: uint64, bands * rows of each) as `parameters` and not from the seed.
    Without `shingles` their lists are empty, and the keys, which are the same, take half of the time.
    """

def minhash_slots(hashes: Arrow, slots: int, seed: int, scheme: str) -> Column:
    """The slots themselves, over lists of shingle hashes (large_list<uint64>): fixed_size_list<uint32>[slots].

    scheme is "classic" or "fss". The share of slots in which two rows agree estimates their Jaccard similarity.
    """

def mersenne_slots(hashes: Arrow, a: Arrow, b: Arrow, mask: int) -> Column:
    """Slot k of row i: the least (a[k] h + b[k] mod 2^64) mod (2^61 - 1), & mask, over h & mask of row i.

    hashes is large_list<uint64>; a and b are uint64 of one length. Returns fixed_size_list<uint64>; a row
    without hashes has the mask in every slot. mask is 2^32 - 1 for datasketch, 2^64 - 1 for datatrove.
    """

def lsh_buckets(key: Arrow, doc_id: Arrow) -> tuple[Column, Column, Column]:
    """Buckets: the ids that share a band key (uint64), for keys of two or more distinct ids.

    doc_id is fixed_size_binary(16). Returns (first: the first id of the bucket, key: uint64, member: another of its
    ids), sorted by key and distinct; the members of a bucket are in the order of their rows.
    """

def bucket_pairs(
    members: list[tuple[Arrow, Arrow, Arrow]],
    documents: list[tuple[Arrow, Arrow]] | None,
    *,
    min_jaccard: float,
    all: bool,
) -> tuple[Column, Column, Column, Column]:
    """Pairs of bucket members (rows of lsh_buckets, in parts) with exact Jaccard >= min_jaccard.

    documents are parts (doc_id, shingles: large_list<uint64>, each row sorted and distinct) that hold every
    member; with None nothing is compared, and each member pairs with its bucket's first. A bucket of m costs
    at most 65 m comparisons: members that are connected already are not compared, the others with at most 64.
    With `all`, every member is also compared with the 64 before it, connected or not.
    Returns (a, b, jaccard: float64, links: uint8), a < b: the pairs of one `first` together, sorted and distinct; two
    of them may find the same pair. links is 1 for the pairs that are found without `all`, too: they connect all that
    is alike. Which these are depends on the keys and the order of the rows, not on how ids compare.
    Memory is some 60 bytes a document, 24 a member and a pair, whatever the buckets.
    """

def jaccard(shingles: Arrow, a: Arrow, b: Arrow) -> Column:
    """Exact Jaccard of rows a[i] and b[i] (uint32) of `shingles`: float64.

    `shingles` is large_list<uint64>, each row sorted and distinct.
    """

def clusters(pairs: list[tuple[Arrow, Arrow]]) -> tuple[Column, Column]:
    """Connected components of edges in parts (a, b: fixed_size_binary(16)).

    Returns (doc_id: every id once, sorted; root: uint32, the row of the smallest id of its component).
    """

def cluster_heads(
    group: Arrow,
    fixed: Arrow,
    part: Arrow,
    row: Arrow,
    keys: Arrow,
    shingles: list[Arrow],
    *,
    bands: int,
    min_jaccard: float | None,
    per_key: int,
) -> tuple[Column, Column, int]:
    """Which members of clusters stay, and which one each of the others goes for.

    Members of a cluster (equal `group`: uint32) stand together in keep order. `fixed` (uint8) is 1 for those that stay
    whatever they are like, which come first; the shingles of a member are row `row` of `shingles[part]` (uint32), and
    its band keys the next `bands` of `keys` (uint64). With `min_jaccard` a member is compared with those that stay and
    share a key with it, of each key the first `per_key`, and goes for the first that is alike; more keys in common come
    first, then the keep order. With None all members of a cluster go for its first.
    Returns (head: uint32, the member it goes for, itself where it stays; similarity: float64, the exact Jaccard of the
    two; how many members that stay, one for each key, were beyond `per_key`).
    """

def cluster_differences(part: Arrow, row: Arrow, ends: Arrow, shingles: list[Arrow]) -> tuple[Column, Column, Column]:
    """How the members of clusters differ from the first of each.

    The shingles of a member are row `row` of `shingles[part]` (uint32); cluster i is the members from ends[i - 1] to
    ends[i] (int64), which are never none. Returns (variants: uint32, the different sets of shingles that are not those
    of the first; varying: uint32, the shingles of the first that a quarter of the variants lack; share: float64, of all
    shingles that variants lack those that are among these, 0 to 1: near 1 in a template, near 0 of edited copies).
    """

def id_places(parts: list[Arrow], ids: Arrow) -> tuple[Column, Column]:
    """(part, row), both uint32, of each of `ids` (fixed_size_binary(16), sorted, distinct) in the parts; 2^32 - 1 twice
    where it is in none. Time grows with the rows of the parts."""

def anchors(text: Arrow, *, min_length: int) -> tuple[Column, Column, Column]:
    """Anchors of every row for repeats of at least `min_length` bytes (32 or more).

    Returns (row: uint32, hash: uint64, place: uint64, the byte at which its window begins), in reading order. Any two
    equal stretches of `min_length` bytes hold anchors of one hash.
    """

def repeats(
    hash: Arrow, part: Arrow, row: Arrow, place: Arrow, texts: list[Arrow], *, min_length: int, per_anchor: int
) -> tuple[Column, Column, Column, Column, int]:
    """Stretches of `min_length` bytes or more around anchors that stand in an earlier place, verified in the texts.

    Anchors are in the order in which texts stay; the text of one is row `row` of `texts[part]` (both uint32).
    Returns (anchor: uint32, start, end: uint64, bytes of its text at the borders of characters; other: uint32, the
    earlier anchor with most of it in common; how many anchors later ones were not compared with, because
    `per_anchor` of their hash that have most of a repeat in common came before).
    """

def word_counts(text: Arrow, *, words: int) -> tuple[Column, Column]:
    """The first `words` words of every row by bucket (of 2^16, ascending): (bucket, count), both large_list<uint32>."""

def word_basis(bucket: Arrow, count: Arrow, idf: Arrow, *, dim: int, seed: int) -> Column:
    """float32, `dim` values a bucket: an orthonormal basis of the subspace in which rows of word_counts vary most.

    A row is weighed by sqrt(count) x idf (float32, one a bucket) and has length 1. By subspace iteration from a seed,
    with sums in one order: the same on every machine.
    """

def word_vectors(bucket: Arrow, count: Arrow, idf: Arrow, basis: Arrow, *, dim: int) -> Column:
    """int16, `dim` values a row: its weights in the basis, scaled to length 8192; zeros for a row without words."""

def vector_centers(vectors: Arrow, *, dim: int, k: int, rounds: int, seed: int) -> Column:
    """int16, `dim` values for each of `k` centers of vectors of length 8192, by spherical k-means from a seed."""

def nearest_centers(vectors: Arrow, centers: Arrow, *, dim: int) -> tuple[Column, Column]:
    """(nearest, second nearest: uint32) center of each vector; both the same where there is one center."""

def alike_vectors(
    vectors: Arrow, ends: Arrow, *, dim: int, least: int, per_vector: int
) -> tuple[Column, Column, Column]:
    """Pairs (row, other: uint32, dot: int32) of vectors of one cluster, with dots of `least` and more.

    Clusters end at `ends` (int64), vectors of one are in keep order. A vector is compared with those before it that
    were like none before them, and paired with the `per_vector` nearest.
    """

def suffix_array(text: Arrow) -> Column:
    """Every place of the bytes of row 0, in the order of what follows it up to the end: uint32. At most 2^30 bytes."""

def text_units(text: Arrow, *, unit: str) -> tuple[Column, Column]:
    """The lines, paragraphs or sentences (`unit`: "line", "paragraph" or "sentence") that every row consists of.

    Returns (rows, bounds), both int64: row i has the units rows[i] to rows[i + 1], and unit j is the bytes bounds[j]
    to bounds[j + 1] of all rows one after the other. Time is linear, whatever the text.
    """

# -- decontam ----------------------------------------------------------------------------------------------

def index_items(
    question: Arrow, option: Arrow, option_count: Arrow, answer: Arrow, *, n: int, max_items: int, ngrams: bool
) -> tuple[Column, Column, Column, Column, Column, Column, Column, Column, Column, Column]:
    """The index of benchmark items: item i has row i of question and answer, and the next option_count[i] options.

    Returns (question, frequency, option, answer, gram, item, place, state, word, items):
    question, option, answer: large_list<uint32>, the low half of the hash of each word
    frequency: large_list<uint16>, for each word of a question how many items have the rarest n-gram around it
    gram: uint64, the sorted n-grams; item, place: large_list<uint32>, <uint16>, where each stands
    state: uint8 an item: 0 indexed, 1 too short, 2 every n-gram in more than max_items items, 3 its first words indexed
    word: uint32, the sorted words of questions and options; items: uint32, how many questions have each
    With `ngrams` only questions are looked for, and of an n-gram in many items max_items are kept.
    """

def count_stretches(text: Arrow, words: Arrow) -> tuple[Column, int]:
    """In how many stretches of 200 words each of `words` (uint32, sorted) stands: uint32; and how many there are."""

def word_weights(in_items: Arrow, in_stretches: Arrow, *, items: int, stretches: int) -> Column:
    """-log2 of each word's frequency in items or in stretches, whichever is larger, in 1/256 bit: uint16.

    in_items, in_stretches: uint32, how many of `items` questions and of `stretches` stretches have the word.
    """

@final
class AlignedFinder:
    """The rule of seeds and weighted alignment. Opened once a worker; it releases the GIL; threads may share it."""

    def __init__(
        self,
        question: Arrow,
        frequency: Arrow,
        option: Arrow,
        option_count: Arrow,
        answer: Arrow,
        gram: Arrow,
        item: Arrow,
        place: Arrow,
        word: Arrow,
        weight: Arrow,
        *,
        n: int,
    ) -> None:
        """Columns of index_items, and the weight of each word. It makes tables of 8 bytes a gram and 4 a word."""
    def find(self, text: Arrow) -> tuple[Column, Column, Column, Column, Column, Column, Column, Column]:
        """The items that each row holds, the best of each span, by row and place.

        Returns (row: uint32, item: uint32, score: float64, limit: float64, evidence: float64, sure: bool,
        start: uint32, end: uint32). Places are bytes of the row's text. evidence is the share of options or answer
        that stands near, negative where the item has neither.
        """

@final
class NgramFinder:
    """A rule that counts n-grams of items. Opened once a worker; it releases the GIL; threads may share it."""

    def __init__(
        self, gram: Arrow, item: Arrow, place: Arrow, length: Arrow, *, n: int, counting: str, share: float
    ) -> None:
        """Columns of index_items with `ngrams`; length: uint32, the words of each item.

        counting: "any" (one n-gram), or the share of an item's "words" or "grams", or of a "paragraph" of the document.
        """
    def find(self, text: Arrow) -> tuple[Column, Column, Column, Column, Column, Column, Column, Column]:
        """As AlignedFinder.find; every match is sure. With "any" the score is the number of n-grams in a row."""

# -- signals and pii ---------------------------------------------------------------------------------------

class English:
    """The words of spaCy's English tokenizer, by its patterns and special cases; a memo fills as texts go by."""

    def __new__(
        cls, *, prefix: str, suffix: str, infix: str, url: str, special: list[tuple[str, list[str]]]
    ) -> English: ...
    def words(self, text: str) -> list[str]:
        """The words of one text; whitespace is none."""

def signals(text: Arrow, *, stop_words: list[list[str]], list_of: Arrow, english: English | None) -> Column:
    """The heuristic measures of every row in one pass: a struct column, one float64 field a measure.

    `list_of` is uint32, one a row or empty: 0 for Gopher's English stop words, i for `stop_words[i - 1]`. With
    `english` datatrove's measures count its words in place of Unicode words.
    """

def measures() -> list[tuple[str, str, str]]:
    """Name, unit and one-line definition of every measure, in the order of the fields of `signals`."""

def cut_lines(
    text: Arrow,
    *,
    whose: str,
    limits: list[tuple[str, float]],
    lorem_ipsum: bool,
    curly_bracket: bool,
    english: English | None,
) -> tuple[Column, tuple[Column, Column, Column, Column, Column], tuple[Column, Column, Column, Column]]:
    """Cut lines by the rules of `whose`, "c4@tfds", "c4@datatrove" or "refinedweb@dclm"; those without a limit are off.

    Returns the texts left; the cuts (row: uint32, start: uint32, end: uint32, rule: uint8, value: float64 or null),
    whose spans are bytes of the text as it stood; and per row n_sentences, lorem_ipsum, curly_bracket,
    removed_word_share.
    """

def line_rules() -> list[str]:
    """Names of the rules on lines, by number."""

def find_personal(text: Arrow, *, kinds: list[str]) -> tuple[Column, Column, Column, Column]:
    """Personal data and secrets of these kinds: email, ip, phone, card, iban, ssn, mac, wallet, api_key, private_key.

    Returns (row: uint32, start: uint32, end: uint32, kind: string), by row and start; spans are bytes of the text, and
    those of a row do not overlap. Only public (globally routable) IP addresses count.
    """

def replace_spans(
    text: Arrow, row: Arrow, start: Arrow, end: Arrow, kind: Arrow, *, placeholder: str, realistic: bool
) -> Column:
    """The text (large_string) with spans replaced; row, start and end are uint32, sorted, without overlaps.

    `kind` is any name. In `placeholder` {type} is that name in upper case and {n} the number of the value in its row:
    equal values have equal numbers. With `realistic`, kinds of find_personal that have made-up values get one.
    """

# -- bpe ---------------------------------------------------------------------------------------------------

def pattern_expression(pattern: str) -> str:
    """The regular expression that a pattern stands for: "gpt2", "gpt4", "llama3", "qwen2", "o200k", or itself.

    ValueError shows the position where a regular expression is invalid. Expressions are read as Oniguruma
    reads them, as the `tokenizers` library does.
    """

def pretokenize(text: Arrow, *, pattern: str) -> tuple[Column, Column, Column]:
    """The pieces that a pattern splits text into: (row, start, end), all uint32, bytes of the row's text.

    pattern is a name or an expression as in pattern_expression. What it does not match is a piece too, so the
    pieces of a row add up to its text. Text that is not UTF-8 is an error that names the row and byte.
    """

def count_pretokens(text: Arrow, *, pattern: str) -> tuple[Column, Column]:
    """Distinct pretokens of the whole column and their counts: (large_binary sorted, int64)."""

def add_counts(pretokens: list[Arrow], counts: list[Arrow]) -> tuple[Column, Column]:
    """The counts of parts added up: as count_pretokens gives them for the whole. Parts of equal lengths."""

def train_bpe(
    pretokens: Arrow,
    counts: Arrow,
    *,
    vocab_size: int,
    special_tokens: list[str],
    min_frequency: int = 0,
    max_token_length: int | None = None,
    characters: str | None = None,
    limit_alphabet: int | None = None,
) -> tuple[Column, Column, Column]:
    """BPE, merges and vocabulary identical to the `tokenizers` library's trainer.

    Pretokens that come twice count twice, so the counts of parts may be put one after the other; added up they
    train faster. Training ends early where no pair is left that occurs min_frequency times. max_token_length is
    in bytes. Returns (vocab: large_binary, the bytes of token i at row i; left: uint32; right: uint32: the merges
    by rank, as token ids). Ids are special tokens, the 256 bytes, merges. A merge that would spell a special
    token is left out.

    With `characters` merges begin with the text's characters and these, at most limit_alphabet of them, and ids
    are special tokens, the tokens of the 256 bytes in order, characters by code point, merges.
    """

@final
class Encoder:
    """An exact BPE encoder. Opened once a worker; encoding is pure and releases the GIL; threads may share it."""

    def __init__(
        self,
        vocab: Arrow,
        left: Arrow,
        right: Arrow,
        *,
        pattern: str | list[str],
        special_ids: list[int],
        ignore_merges: bool = False,
        byte_ids: list[int] | None = None,
        nfc: bool = False,
        space: str | None = None,
        prefix: str | None = None,
        prefix_once: bool = False,
        added: list[tuple[str, int, bool]] = ...,
    ) -> None:
        """vocab, left, right as returned by train_bpe; pattern as in pretokenize; no text becomes one of special_ids.

        Several patterns split one after the other. byte_ids are the 256 tokens of the bytes where merges begin
        with characters. Before it is split a text is composed (nfc), its spaces become `space`, and it gets the
        prefix, with prefix_once only where it does not begin with it; decode takes the latter two back.

        Every `added` (text, id, normalized) stands for its text wherever that occurs, in the text as it is or, where
        normalized, as it is composed; the first match counts, of those the longest.

        A token without bytes is a hole in the numbering. With ignore_merges a pretoken that is a token as a
        whole is that token whatever the merges say. ValueError where bytes or results of merges have no token.
        """
    @property
    def vocab_size(self) -> int:
        """Ids run from 0 to below this."""
    def encode(self, text: Arrow, *, end_of_document: int | None = None) -> Column:
        """Token ids of every row: large_list<uint16> for a vocabulary of at most 65,536 tokens, else of uint32.

        Special tokens in the text are text. `end_of_document` is appended to every row.
        """
    def encode_lists(self, texts: Sequence[str], *, end_of_document: int | None = None) -> list[list[int]]:
        """As encode, from texts to lists, for those who go on in Python."""
    def decode(self, tokens: Arrow) -> Column:
        """The bytes of every row of ids (lists of uint16 or uint32): large_binary.

        An id outside the vocabulary is an error naming it, its row and its position.
        """

def extend_bpe(
    tokens: Arrow,
    counts: Arrow,
    vocab: Arrow,
    *,
    no_text: list[int],
    vocab_size: int,
    min_frequency: int = 0,
    max_token_length: int | None = None,
) -> tuple[Column, Column, Column]:
    """As train_bpe, from a model on: pretokens are lists of its tokens (uint32), vocab (large_binary) holds the bytes
    of its tokens, of which no_text are made by no merge. Ids of vocab stay; only merges beyond them are returned."""

def pack(lengths: Arrow, *, row_length: int) -> tuple[Column, Column, Column, Column]:
    """Best-fit decreasing: documents of lengths[i] (uint32 tokens) into rows of row_length tokens; nothing is lost.

    A document longer than the row is split into row_length pieces and a rest; an empty one takes no place.
    row_length is at most 2^26. Returns the pieces sorted by (row, place): (row: uint32, doc: uint32,
    start: uint32, length: uint32). Rows come full pieces first and then by falling length of their longest
    piece: shuffle them.
    """

# -- WARC --------------------------------------------------------------------------------------------------

@final
class WarcReader:
    """The rows of a WARC or ARC file (gzip, zstd or not compressed), or of a part of it."""

    def __init__(
        self,
        file: str | object,
        name: str,
        *,
        start: int = 0,
        end: int | None = None,
        wet: bool = False,
        verify: bool = False,
    ) -> None:
        """`file` is a path, or an object that reads bytes and seeks. `name` becomes part of every row's doc_id.

        Rows are of the records that begin in bytes [start, end), in a compressed file of the members that do. `wet`:
        the texts of conversion records instead of the bodies of responses and resources. `verify`: the digests in the
        headers are compared with what they are of. OSError where the file cannot be read.
        """

    def next_batch(self) -> dict[str, Column] | None:
        """Columns of about 8 MiB of rows, None at the end; those of verdicts are named `verdict.rule` and so on, and
        are there where a row has one."""

    def counts(self) -> tuple[list[tuple[str, int]], list[tuple[int, str, int]], list[tuple[str, int, int]], int]:
        """Since the last call: (type, number) of records that are no rows; (byte, what, bytes skipped) of each damaged
        place, the first 20 of a file; (what, places, bytes skipped) of all others; rows with a date that cannot be
        read."""
