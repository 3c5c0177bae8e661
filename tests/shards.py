"""Token shards made on the spot, as `curate tokenize` lays them out, and the simplest best-fit packer."""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import corpus
from curate import _rust
from curate.schema import TOKENS_16, TOKENS_32, doc_id
from curate.tokenizer.files import Model, tokenizer_json
from curate.tokenizer.model import END_OF_DOCUMENT, open_encoder

END = 0
VOCAB = 400  # tokens of a tokenizer that is trained here
Documents = Sequence[Sequence[int]]  # token ids without the end-of-document id


def sentences(seed: int, documents: int, vocab_size: int = 64, longest: int = 200) -> list[list[int]]:
    """Documents with something to learn: a token is mostly followed by the same three others."""
    rng = random.Random(seed)
    result = []
    for _ in range(documents):
        tokens = [rng.randrange(1, vocab_size)]
        for _ in range(rng.randrange(longest)):
            tokens.append((tokens[-1] * 5 + rng.randrange(3)) % (vocab_size - 1) + 1)
        result.append(tokens)
    return result


def tokenizer_of(texts: Sequence[str]) -> bytes:
    """tokenizer.json trained on these texts: VOCAB tokens, byte level, the end-of-document id 0."""
    pretokens = _rust.count_pretokens(pa.array(texts, pa.large_string()), pattern="gpt2")
    trained = _rust.train_bpe(*map(pa.array, pretokens), vocab_size=VOCAB, special_tokens=[END_OF_DOCUMENT])
    vocab, left, right = map(pa.array, trained)
    return tokenizer_json(Model(vocab, left, right, _rust.pattern_expression("gpt2"), [END_OF_DOCUMENT]))


def write_shards(folder: Path, sources: Mapping[str, Documents], vocab_size: int, dtype: str, tokenizer: bytes) -> None:
    """Two files a source, three documents a record batch, manifest.json."""
    schema = TOKENS_16 if dtype == "uint16" else TOKENS_32
    files = []
    for name, documents in sources.items():
        (folder / name).mkdir(parents=True)
        half = len(documents) // 2
        for number, part in enumerate((documents[:half], documents[half:])):
            rows = [[*tokens, END] for tokens in part]
            table = pa.table(
                {
                    "doc_id": pa.array([doc_id(name, number * half + i) for i in range(len(part))], pa.binary(16)),
                    "tokens": pa.array(rows, schema.field("tokens").type),
                    "n_tokens": pa.array([len(row) for row in rows], pa.uint32()),
                    "text_bytes": pa.array([3 * len(tokens) for tokens in part], pa.uint64()),
                },
                schema=schema,
            )
            path = folder / name / f"{number:012x}.arrow"
            with pa.ipc.new_file(str(path), schema) as writer:
                writer.write_table(table, max_chunksize=3)
            content = path.read_bytes()
            counts = {"documents": len(part), "tokens": sum(map(len, rows)), "text_bytes": 3 * sum(map(len, part))}
            place = {"path": f"{name}/{path.name}", "source": name, "bytes": len(content)}
            files.append({**place, **counts, "sha256": hashlib.sha256(content).hexdigest()})
    totals = {
        name: {key: sum(f[key] for f in files if f["source"] == name) for key in ("documents", "tokens", "text_bytes")}
        for name in sources
    }
    manifest = {"version": 1, "tokenizer_sha256": hashlib.sha256(tokenizer).hexdigest(), "vocab_size": vocab_size}
    manifest |= {"end_of_document": END, "dtype": dtype, "files": files, "sources": totals}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def write_run(
    run: Path,
    sources: Mapping[str, Documents],
    heldout: Mapping[str, Documents] | None = None,
    *,
    vocab_size: int = 64,
    dtype: str = "uint16",
    tokenizer: bytes = b"{}",
) -> Path:
    """A data run as the trainer sees it: tokens/, heldout/tokens/, tokenizer.json."""
    write_shards(run / "tokens", sources, vocab_size, dtype, tokenizer)
    if heldout:
        write_shards(run / "heldout" / "tokens", heldout, vocab_size, dtype, tokenizer)
    (run / "tokenizer.json").write_bytes(tokenizer)
    return run


def edit_manifest(run: Path, **changes: Any) -> None:
    path = run / "tokens" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def best_fit(lengths: Sequence[int], row_length: int) -> list[tuple[int, int, int, int]]:
    """Pieces (row, doc, start, length): the longest first, each into the fullest row that has room for it."""
    pieces = []
    for doc, length in enumerate(lengths):
        pieces += [(min(row_length, length - start), doc, start) for start in range(0, length, row_length)]
    rows: list[list[tuple[int, int, int]]] = []
    for piece in sorted(pieces, key=lambda piece: (-piece[0], piece[1:])):
        room = [row_length - sum(p[0] for p in row) for row in rows]
        fitting = [i for i, free in enumerate(room) if free >= piece[0]]
        if not fitting:
            rows.append([piece])
        else:
            rows[min(fitting, key=lambda i: room[i])].append(piece)
    return [(r, doc, start, n) for r, row in enumerate(rows) for n, doc, start in row]


def columns(pieces: Sequence[tuple[int, int, int, int]]) -> tuple[np.ndarray, ...]:
    return tuple(np.array(pieces, dtype=np.uint32).reshape(-1, 4).T)


def real_run(run: Path, seed: int = 1, documents: int = 30) -> tuple[Path, Any]:
    """A run of articles with a tokenizer of 400 tokens, a third as many held out; and its encoder."""
    rng = random.Random(seed)
    texts = [corpus.article(rng, 8) for _ in range(documents + documents // 3)]
    run.mkdir(parents=True)
    path = run / "tokenizer.json"
    path.write_bytes(tokenizer_of(texts))
    encoder = open_encoder(path)
    ids = pa.array(encoder.encode(pa.array(texts, pa.large_string()))).to_pylist()
    sources, heldout = {"web": ids[: documents // 2], "book": ids[documents // 2 : documents]}, {"web": ids[documents:]}
    return write_run(run, sources, heldout, vocab_size=VOCAB, tokenizer=path.read_bytes()), encoder
