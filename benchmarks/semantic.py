"""semantic_dedup on real paraphrases, with and without a model, and on questions of a benchmark.

    python -m benchmarks.semantic             # some ten minutes

`paraphrases`: 1,000 lines of news (../shared/data/neardup/wmt21_de-en) in two translations each are 2,000 documents. A
pair is right where both translate the same line. `tfidf-svd` is the embedder without a model. `static` is a model made
on the spot in model2vec's form, as the positive control: words of 17 MB of English as they stand beside each other
(positive pointwise mutual information in windows of five, 256 directions), common words weighed down (Arora et al.
2017). It does not know the names in the news, which a distilled model's subwords would.

`items`: questions of MMLU are compared with documents (`--against`), of which some are such questions with a tenth of
their words left out, some hold one between 240 other words, and most have nothing of them.

`million`: 1,000,000 vectors of 256 values, of which a thousandth are copies without a word, end to end.
"""

import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tokenizers
from safetensors.numpy import save_file
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from benchmarks import texts
from benchmarks.harness import Report, run, watched

READ = ("books_en", "wiki", "news_reuters", "forum_20news")
LETTERS, WORDS, DIM, WINDOW = 17_000_000, 30_000, 256, 5
PAIRS = {"two people": ("ref.A", "ref.B"), "a person and a system": ("ref.A", "hyp.Online-W")}
RIGHT = (0.9, 0.95, 0.99)  # shares of the pairs found that have to be right
CHUNKS, CHUNK_WORDS, COPIED, MEMORY = 1_000_000, 16, 1000, "2GB"  # of `million`; every COPIED-th chunk is one
SMOOTHED = 0.75  # exponent of the counts of neighbours (Levy et al. 2015)


def static_model(folder: Path) -> Path:
    """A model in model2vec's form of the words of English texts."""
    words: list[str] = []
    room = LETTERS
    for name, language, text in texts.documents("text"):
        if name in READ and language in ("", "en") and room > 0:
            words += re.findall(r"\w+", text[:room].lower())
            room -= len(text)
    counts = Counter(words).most_common(WORDS)
    number = {word: 1 + place for place, (word, _) in enumerate(counts)}
    ids = np.array([number.get(word, 0) for word in words])
    size = len(number) + 1
    beside = sparse.csr_matrix((size, size))
    for distance in range(1, WINDOW + 1):
        a, b = ids[:-distance], ids[distance:]
        known = (a > 0) & (b > 0)
        beside = beside + sparse.csr_matrix((np.full(known.sum(), 1 / distance), (a[known], b[known])), (size, size))
    beside = (beside + beside.T).tocoo()
    of_word = np.asarray(beside.sum(1)).ravel()
    of_neighbour = of_word**SMOOTHED
    share = of_word[beside.row] * of_neighbour[beside.col] / of_neighbour.sum()
    information = np.maximum(np.log(beside.data / share), 0)
    u, s, _ = randomized_svd(sparse.csr_matrix((information, (beside.row, beside.col)), (size, size)), DIM,
                             random_state=1)  # fmt: skip
    frequency = np.array([0, *(count for _, count in counts)]) / len(words)
    folder.mkdir()
    weights, rows = 1e-3 / (1e-3 + frequency), u * np.sqrt(s)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    rows -= (frequency * weights) @ rows / (frequency @ weights)  # what all texts have in common
    tensors = {"embeddings": rows.astype(np.float32), "weights": weights}
    save_file(tensors, folder / "model.safetensors")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, **number}, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.Lowercase()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"\w+"), "removed", invert=True)
    made.save(str(folder / "tokenizer.json"))
    return folder


def translations(first: str, second: str, folder: Path) -> Path:
    """A folder of 2,000 documents: 1,000 lines in one translation, then in the other."""
    lines = list(texts.rows(texts.SHARED / "neardup" / "wmt21_de-en_translations.jsonl.zst"))
    folder.mkdir()
    found = [line[f"de-en.{name}.en"] for name in (first, second) for line in lines]
    pq.write_table(pa.table({"text": found}), folder / "lines.parquet")
    return folder


def vectors(folder: Path, out: Path, *given: object) -> tuple[np.ndarray, str]:
    """(float [documents, dim] of length 1 in the order of the file, what the run says of random pairs)."""
    command = [sys.executable, "-m", "curate", "semantic-dedup", folder, "--out", out, "--mark", "--workers", 1, *given]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    column = pa.ipc.open_file(next((out / "embeddings").glob("*.arrow"))).read_all().column("vector").combine_chunks()
    found = column.flatten().to_numpy().reshape(len(column), -1) / 8192
    words = " ".join((done.stdout + done.stderr).split())
    quantile = re.search(r"99\.9 % below (-?[\d.]+)", words)
    return found, quantile[1] if quantile else "?"


def least_cosine(same: np.ndarray, other: np.ndarray, right: float) -> float:
    """The smallest limit at which `right` of the pairs found are right."""
    cosines = np.concatenate((same, other))
    order = np.argsort(-cosines, kind="stable")
    hits = np.cumsum(order < len(same))
    good = np.flatnonzero(hits >= right * np.arange(1, len(cosines) + 1))
    return float(cosines[order[good[-1]]]) if len(good) else 1.0


def paraphrases(report: Report) -> None:
    """Recall at stated shares of right pairs, for each embedder."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        model = static_model(root / "model")
        lines = []
        for title, (first, second) in PAIRS.items():
            folder = translations(first, second, root / f"{first}-{second}")
            for name, given in (("tfidf-svd", ()), ("static", ("--model", model))):
                found, chance = vectors(folder, root / f"{first}-{second}-{name}", *given)
                cosines, n = found @ found.T, len(found) // 2
                same = np.diagonal(cosines, n)
                rest = np.triu(np.ones(cosines.shape, bool), 1)
                rest[np.arange(n), np.arange(n) + n] = False
                cells = []
                for right in RIGHT:
                    least = least_cosine(same, cosines[rest], right)
                    recall = float((same >= least).mean())
                    cells.append(f"{recall:.3f} ({least:.2f})")
                    report.row(f"recall_{name}_{title.replace(' ', '_')}_{right}", recall, "", 1, table="paraphrases")
                lines.append([title, name, *cells, chance, f"{float((same > 0.999).mean()):.3f}"])
        header = ["translations by", "embedder", *(f"recall where {right:.0%} are right (cosine)" for right in RIGHT),
                  "99.9 % of random pairs below", "equal"]  # fmt: skip
        report.table("Paraphrases found, of 1,000 among 2,000 lines", header, lines)


def items(report: Report) -> None:
    """Documents that are marked as like an item of a benchmark, by `--against`: planted ones, and others."""
    rng = random.Random(1)
    rows = list(texts.rows(texts.SHARED / "bench" / "mmlu.jsonl.zst"))[:6000]
    asked = [row["question"] for row in rows if len(row["question"].split()) >= 15]
    chunks = [
        " ".join(words[start : start + 120])
        for name, language, text in texts.documents("text")
        if name in READ and language in ("", "en")
        for words in [text[:40_000].split()]
        for start in range(0, len(words) - 120, 120)
    ]
    chunks = rng.sample(chunks, 6000)
    chosen = rng.sample(range(len(asked)), 400)
    alone = [" ".join(word for word in asked[i].split() if rng.random() > 0.1) for i in chosen[:200]]
    inside = [f"{chunks[n]}\n\n{asked[i]}\n\n{chunks[-1 - n]}" for n, i in enumerate(chosen[200:])]
    with tempfile.TemporaryDirectory() as place:
        root, lines = Path(place), []
        for name, found in (("items", asked), ("documents", [*alone, *inside, *chunks])):
            (root / name).mkdir()
            pq.write_table(pa.table({"text": found, "number": range(len(found))}), root / name / "rows.parquet")
        for least in (0.97, 0.9, 0.8):
            out = root / f"{least}"
            given = ["--against", root / "items", "--out", out, "--min-cosine", least, "--mark", "--workers", 1]
            command = [sys.executable, "-m", "curate", "semantic-dedup", root / "documents", *given]
            subprocess.run(list(map(str, command)), capture_output=True, check=True)
            documents = pq.read_table(out / "documents", columns=["doc_id", "number"])
            number = dict(
                zip(documents.column("doc_id").to_pylist(), documents.column("number").to_pylist(), strict=True)
            )
            went = np.zeros(len(number), bool)  # marked as like an item, not as like another document
            for row in pq.read_table(out / "rejects", columns=["doc_id", "detail"]).to_pylist():
                went[number[row["doc_id"]]] |= bytes.fromhex(row["detail"][-32:]) not in number
            n, both = len(alone), len(alone) + len(inside)
            right, wrong = int(went[:n].sum()), int(went[both:].sum())
            lines.append([f"{least:g}", f"{went[:n].mean():.3f}", f"{went[n:both].mean():.3f}",
                          f"{wrong:,} of {len(chunks):,}", f"{right / max(1, right + wrong):.3f}"])  # fmt: skip
    header = ["min_cosine", "items alone, a tenth of words left out", "items inside of 240 words",
              "other documents", "precision"]  # fmt: skip
    report.table("Documents that are marked as like a benchmark item (tfidf-svd)", header, lines)


def million(report: Report) -> None:
    """1,000,000 chunks of 16 words of all languages and code, one worker, in the memory that it is given."""
    rng, chunks = random.Random(1), list[str]()
    while len(chunks) < CHUNKS:
        # The words of a document in any order, so that a second pass over the documents makes other chunks.
        for _, _, text in texts.documents("text"):
            words = text.split()
            rng.shuffle(words)
            chunks += (" ".join(words[at : at + CHUNK_WORDS]) for at in range(0, len(words) - CHUNK_WORDS, CHUNK_WORDS))
    del chunks[CHUNKS:]
    copies = range(COPIED // 2, CHUNKS, COPIED)
    for at in copies:
        words = chunks[at - 1].split()
        del words[rng.randrange(CHUNK_WORDS)]
        chunks[at] = " ".join(words)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        (root / "in").mkdir()
        for part in range(10):
            here = slice(part * CHUNKS // 10, (part + 1) * CHUNKS // 10)
            pq.write_table(pa.table({"text": chunks[here]}), root / "in" / f"{part}.parquet", row_group_size=10_000)
        given = ["--out", root / "out", "--memory", MEMORY, "--workers", 1, "--min-cosine", 0.93, "--mark"]
        command = [sys.executable, "-m", "curate", "semantic-dedup", root / "in", *given]
        wall, cpu, peak = watched(list(map(str, command)), root)
        went = pq.read_table(root / "out" / "rejects", columns=["origin_file", "origin_offset"])
        place_of = {f"{part}.parquet": part * CHUNKS // 10 for part in range(10)}
        names = [place_of[Path(name).name] for name in went.column("origin_file").to_pylist()]
        marked = set(map(int, np.array(names) + went.column("origin_offset").to_numpy()))
    found = len(marked.intersection(copies)) / len(copies)
    note = (
        f"{wall:.0f} s by the clock; peak {peak:,.0f} MB of {MEMORY}; {found:.1%} of {len(copies):,} copies without one"
        f" of {CHUNK_WORDS} words marked, {len(marked):,} documents in all; min_cosine .93"
    )
    report.row("million", cpu / 60, "CPU minutes", 1, note=note)


if __name__ == "__main__":
    run("semantic", [paraphrases, items, million], ["numpy", "scipy", "scikit-learn", "tokenizers"])
