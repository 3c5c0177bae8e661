"""What the audit of memorization measures, held against plain definitions."""

import itertools
import math
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import corpus
import shards as made
from curate.errors import ConfigError
from curate.schema import DOCUMENT, REJECT, conform
from train.audit import canaries, synthetic
from train.audit.attacks import lowest
from train.audit.copies import copies_of
from train.audit.diversity import distance, diversity, grams
from train.audit.forced import Drawing, extracted, forced, known
from train.audit.history import Read
from train.audit.spans import document_tokens, occurrences, sample
from train.config import Shape
from train.generate import Sampling, generate
from train.intervals import auc, mean, paired, proportion, slope, students, true_positives
from train.model import build
from train.packing import pack
from train.shards import open_shards

SHAPE = Shape(vocab_size=64, sequence_length=48, layers=2, width=32, heads=2, kv_heads=1, ffn_width=48, tied=True)
PREFIX, SUFFIX = 12, 8


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    found = build(SHAPE, 1)
    with torch.no_grad():
        found.embedding.weight.mul_(20)  # sure of itself, so that drawn continuations repeat
    return found.eval()


def written(model: torch.nn.Module, prompts: list[list[int]]) -> list[list[int]]:
    """What `train generate` writes at temperature 0; shorter where it ends the document."""
    texts: list[list[int]] = [[] for _ in prompts]
    for step in generate(model, prompts, made.END, Sampling(tokens=SUFFIX, temperature=0)):
        for row, token in step.items():
            texts[row].append(token)
    return texts


def test_one_forced_pass_says_what_greedy_generation_writes(model: torch.nn.Module) -> None:
    rng = np.random.default_rng(1)
    prefixes = rng.integers(1, 64, (80, PREFIX)).tolist()
    texts = written(model, prefixes)
    spans = []
    for number, (prefix, text) in enumerate(zip(prefixes, texts, strict=True)):
        suffix = (text + [1] * SUFFIX)[:SUFFIX]
        if number % 2:  # one token is another
            suffix[number % SUFFIX] = suffix[number % SUFFIX] % 63 + 1
        spans.append(prefix + suffix)
    found = forced(model, np.array(spans), made.END, SUFFIX)
    same = [text == span[PREFIX:] for text, span in zip(texts, spans, strict=True)]
    assert found.correct.all(axis=1).tolist() == same and 20 < sum(same) < 60
    shared = [
        next((n for n, (a, b) in enumerate(itertools.zip_longest(text, span[PREFIX:])) if a != b), SUFFIX)
        for text, span in zip(texts, spans, strict=True)
    ]
    assert known(found.correct).tolist() == shared


def test_chances_of_draws_are_those_of_the_sampler(model: torch.nn.Module) -> None:
    """Over all continuations of one token the chances sum to 1; top_k rules the others out; draws agree."""
    prefix = np.arange(1, 9)
    spans = np.array([[*prefix, token] for token in range(64)])
    all_of_them = forced(model, spans, made.END, 1, Drawing(1.0, 0))
    assert np.exp(all_of_them.drawn).sum() == pytest.approx(1, abs=1e-5)
    assert np.allclose(all_of_them.drawn, -all_of_them.nats[:, -1], atol=1e-5)
    top = forced(model, spans, made.END, 1, Drawing(2.0, 5)).drawn
    assert np.isfinite(top).sum() == 5 and np.exp(top).sum() == pytest.approx(1, abs=1e-5)
    prompts = [prefix.tolist()] * 600
    drawn = [step for step in generate(model, prompts, made.END, Sampling(tokens=1, temperature=2.0, top_k=5, top_p=1))]
    counts = np.bincount(list(drawn[0].values()), minlength=64) / 600
    assert np.abs(counts[1:] - np.exp(top)[1:]).max() < 0.07
    assert extracted(np.log([0.01, 0.5]), 10).tolist() == pytest.approx([1 - 0.99**10, 1 - 0.5**10])


def test_scores_of_attacks_follow_their_papers(model: torch.nn.Module) -> None:
    spans = np.random.default_rng(2).integers(1, 64, (3, 20))
    found = forced(model, spans, made.END, SUFFIX, Drawing())
    inputs = torch.from_numpy(np.concatenate((np.full((3, 1), made.END), spans[:, :-1]), axis=1))
    log_p = model.logits(inputs).log_softmax(-1).detach().double()
    mean_p = (log_p.exp() * log_p).sum(-1)
    deviation = ((log_p.exp() * log_p**2).sum(-1) - mean_p**2).sqrt()
    own = log_p.gather(2, torch.from_numpy(spans).unsqueeze(2)).squeeze(2)
    assert np.allclose(found.nats, -own, atol=1e-4)
    assert np.allclose(found.standard, (own - mean_p) / deviation, atol=1e-3)
    assert lowest(np.array([[3.0, 1.0, 2.0, 5.0, 4.0, 9.0, 8.0, 7.0, 6.0, 0.0]])).tolist() == [0.5]


def test_spans_lie_in_one_piece_of_a_row_that_was_read(tmp_path: Path) -> None:
    run = made.write_run(tmp_path / "run", {"web": made.sentences(1, 60), "code": made.sentences(2, 20, longest=400)})
    shards = open_shards(run / "tokens")
    packed = [pack(source, 48, made.END) for source in shards.sources.values()]
    read = [Read(np.arange(one.rows) % 2, np.where(np.arange(one.rows) % 2, 7, -1)) for one in packed]
    found = sample(packed, read, 20, 0, seed=1)
    spans = found.spans
    assert len(spans.tokens) + found.short + found.unread == found.documents == 80 and found.unread
    assert set(spans.times.tolist()) == {1} and set(spans.last_step.tolist()) == {7}
    for tokens, source, document, start in zip(*spans[:4], strict=True):
        one = packed[source]
        whole = document_tokens(one.source, document)
        assert (whole[start : start + 20] == tokens).all() and made.END not in tokens
        pieces = np.flatnonzero((one.doc == document) & (one.start <= start) & (start + 20 <= one.start + one.length))
        rows = np.searchsorted(one.first, pieces, side="right") - 1
        assert len(pieces) == 1 and rows[0] % 2 == 1
    assert len({(s, d) for s, d in zip(spans.source.tolist(), spans.document.tolist(), strict=True)}) == len(
        spans.source
    )
    again = sample(packed, read, 20, 10, seed=1).spans
    assert (again.tokens == spans.tokens[:10]).all()
    assert (sample(packed, read, 20, 10, seed=2).spans.tokens != again.tokens).any()


def test_occurrences_are_counted_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.audit.spans.CHUNK_TOKENS", 64)
    documents = made.sentences(1, 40, vocab_size=4, longest=60)
    run = made.write_run(tmp_path / "run", {"web": [*documents, *documents[:7], *documents[:3]]})
    shards = open_shards(run / "tokens")
    spans = np.array([doc[at : at + 5] for doc in documents for at in range(0, len(doc) - 5, 3)])
    streams = [document_tokens(shards.sources["web"], n).tolist() for n in range(50)]
    plain = [
        sum(stream[at : at + 5] == span for stream in streams for at in range(len(stream))) for span in spans.tolist()
    ]
    assert occurrences(shards, spans).tolist() == plain and max(plain) > 10


def identity(n: int) -> bytes:
    return bytes([n]) * 16


def write_dedup(run: Path, pairs: list[tuple[int, int, float]] | None) -> None:
    """Documents 1, 5 stay; 2 is the text of 1, 3 and 4 are like 1 by .8 and .5, and 6 is the text of 3."""
    dropped = [(2, "exact_dedup.copy", None, 1), (6, "exact_dedup.copy", None, 3)]
    dropped += [(3, "near_dedup.copy", 0.8, 1), (4, "near_dedup.copy", 0.5, 1)]
    documents = {"doc_id": [identity(1), identity(5)], "n_copies": [5, 1], "text": ["a", "b"]}
    columns = zip(
        *[(identity(a), rule, value, f"copy of {identity(b).hex()}") for a, rule, value, b in dropped], strict=True
    )
    rejects = dict(zip(("doc_id", "rule", "value", "detail"), map(list, columns), strict=True))
    for name, data, schema in (("documents", documents, DOCUMENT), ("rejects", rejects, REJECT)):
        (run / name).mkdir(parents=True)
        data["doc_id"] = pa.array(data["doc_id"], pa.binary(16))
        pq.write_table(pa.table(conform(pa.RecordBatch.from_pydict(data), schema)), run / name / "0.parquet")
    if pairs is not None:
        (run / "pairs").mkdir()
        a, b, jaccard = zip(*pairs, strict=True)
        ids = [pa.array([identity(n) for n in column], pa.binary(16)) for column in (a, b)]
        pq.write_table(pa.table([*ids, pa.array(jaccard)], ["doc_a", "doc_b", "jaccard"]), run / "pairs" / "0.parquet")


def test_a_near_copy_counts_by_how_like_it_is(tmp_path: Path) -> None:
    ids = [identity(n) for n in (1, 2, 3, 4, 5, 6, 9)]
    write_dedup(tmp_path / "stars", None)
    found = copies_of(tmp_path / "stars", ids)
    assert found is not None
    assert found.n_copies[:6].tolist() == [5, 5, 5, 5, 1, 5] and math.isnan(found.n_copies[6])
    # 1 and its twin; two of .8 and one of .5. Of those that did not stay, only the pair with 1 is known.
    assert found.mass[:6].tolist() == pytest.approx(
        [2 + 2 * 0.8 + 0.5] * 2 + [2 + 2 * 0.8, 1 + 2 * 0.5, 1, 2 + 2 * 0.8]
    )
    assert len(set(found.cluster.tolist())) == 3
    write_dedup(tmp_path / "all", [(1, 3, 0.8), (1, 4, 0.5), (3, 4, 0.6)])
    complete = copies_of(tmp_path / "all", ids)
    assert complete is not None
    assert complete.mass[2:4].tolist() == pytest.approx([2 + 2 * 0.8 + 0.6, 1 + 2 * 0.5 + 2 * 0.6])
    assert copies_of(tmp_path / "nothing", ids) is None


def test_intervals_hold_what_they_say() -> None:
    hits = np.array([True] * 10 + [False] * 90)
    apart = np.arange(100)
    alone = proportion(hits, apart)
    assert alone[:3] == pytest.approx((0.1, 0.0552, 0.1744), abs=1e-4)  # Wilson
    tens = proportion(hits, apart // 10)  # ten clusters, one of them all right
    assert tens.low < 0.03 and tens.high > 0.35
    assert proportion(np.zeros(4, bool), np.arange(4)).low == 0
    assert [students(n) for n in (1, 3, 10, 1000)] == pytest.approx([12.706, 3.182, 2.228, 1.962], rel=4e-3)
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert mean(values, np.arange(4))[:3] == pytest.approx((2.5, 2.5 - 2.0541, 2.5 + 2.0541), rel=4e-3)
    x = np.arange(50.0)
    line = slope(x, 3 * x + np.tile([1.0, -1.0], 25), np.arange(50))
    assert line.low < 3 < line.high and line.high - line.low < 0.1
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(20):  # differences of .02 between two arms of 3 seeds and 60 documents
        noise = rng.normal(0, 0.02, (3, 1)) + rng.normal(0, 0.05, (1, 60))
        found = paired((0.02 + noise) * 100, np.full(60, 100.0), trial)
        covered += found.low <= 0.02 <= found.high
    assert covered >= 16


def test_the_curve_of_an_attack_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(1)
    members, others = rng.integers(0, 30, 200) / 1.0 + 3, rng.integers(0, 30, 300) / 1.0
    pairs = np.sign(members[:, None] - others[None, :])
    assert auc(members, others) == pytest.approx((pairs.mean() + 1) / 2)
    limits = [value for value in np.unique(np.concatenate((members, others))) if (others > value).mean() <= 0.01]
    assert true_positives(members, others) == pytest.approx(max((members > value).mean() for value in limits))


def test_a_canary_is_planted_as_often_as_its_level_says(tmp_path: Path) -> None:
    run, tokenizer = made.real_run(tmp_path / "run")
    settings = canaries.Canaries(each=2, repeats=[0, 1, 4], candidates=16)
    told = canaries.plant(run, tmp_path / "out", settings)
    assert told == {"out": str(tmp_path / "out"), "canaries": 6, "planted": 10, "documents": 30}
    shards = open_shards(tmp_path / "out" / "tokens", verify=True)
    before = open_shards(run / "tokens")
    texts = tokenizer.encode_lists(
        [f"{c.head}{canaries.secret(settings, c.number, 0)}.\n" for c in canaries.canaries_of(settings)]
    )
    counts = [0] * 6
    for name, source in shards.sources.items():
        assert source.doc_ids(np.arange(source.documents)) == before.sources[name].doc_ids(np.arange(source.documents))
        for n in range(source.documents):
            old, new = (document_tokens(s, n).tolist() for s in (before.sources[name], source))
            head = new[: len(new) - len(old)]
            assert new[len(head) :] == old
            if head:
                counts[texts.index(head)] += 1
    assert counts == [0, 0, 1, 1, 4, 4]
    assert canaries.planted_in(tmp_path / "out") == settings and canaries.planted_in(run) is None
    with pytest.raises(ConfigError, match="not empty"):
        canaries.plant(run, tmp_path / "out", settings)
    with pytest.raises(ConfigError, match=r"200 copies of canaries would be planted, .* there are 30 documents"):
        canaries.plant(run, tmp_path / "more", settings.model_copy(update={"repeats": [100]}))


def test_what_texts_share_is_computed_once_and_changes_nothing(model: torch.nn.Module) -> None:
    rng = np.random.default_rng(3)
    head = rng.integers(1, 64, 9).tolist()
    texts = [[*head, *rng.integers(1, 64, n).tolist()] for n in (3, 5, 4, 1)]
    alone = [
        model.nats(torch.tensor([[made.END, *text[:-1]]]), torch.tensor([text]))[0, len(head) :].sum() for text in texts
    ]
    found = canaries.continuation_nats(model, texts, made.END)
    assert found == pytest.approx([float(x) for x in alone], rel=1e-4)


def test_texts_that_repeat_are_less_varied_and_further_from_real_ones() -> None:
    rng = random.Random(1)
    real = [corpus.article(rng, 6) for _ in range(40)]
    other = [corpus.article(rng, 6) for _ in range(40)]
    twice = [text for text in other[:10] for _ in range(4)]
    alike, repeated = diversity(other, real), diversity(twice, real)
    assert alike["in_copies"] == 0 and repeated["in_copies"] == 1 and repeated["largest_cluster"] == 4
    assert repeated["distinct"]["4"] < 0.5 * alike["distinct"]["4"]
    assert repeated["distance"]["2"] > alike["distance"]["2"] > 0
    assert distance(grams([["a", "b"]], 1), grams([["b", "a"]], 1)) == 0
    assert distance(grams([["a"]], 1), grams([["b"]], 1)) == pytest.approx(1)


def test_synthetic_documents_say_who_wrote_them(tmp_path: Path) -> None:
    rng = random.Random(1)
    texts = [corpus.article(rng, 4) for _ in range(60)]
    rows = {
        "doc_id": pa.array([identity(n) for n in range(60)], pa.binary(16)),
        "text": texts,
        "synthetic": [None] * 30 + [True] * 30,
        "generator": [None] * 30 + ["m1"] * 10 + [None] * 20,
        "prompt_hash": [None] * 30 + ["p"] * 5 + [None] * 25,
        "extra": [None] * 40 + ['{"generator": "m2", "prompt_hash": "q"}'] * 15 + ["[1]"] * 5,
    }
    (tmp_path / "documents").mkdir()
    table = pa.table(conform(pa.RecordBatch.from_pydict(rows), DOCUMENT))
    pq.write_table(table, tmp_path / "documents" / "0.parquet")
    found = synthetic.check(tmp_path)
    assert (found["documents"], found["synthetic"], found["without_generator"]) == (60, 30, 5)
    counts = {
        name: (one["documents"], one["without_prompt_hash"], one["prompts"])
        for name, one in found["generators"].items()
    }
    assert counts == {"m1": (10, 5, 1), "m2": (15, 0, 1), synthetic.UNKNOWN: (5, 5, 0)}
    assert all(0 < one["measures"]["distance"]["2"] <= 1 for one in found["generators"].values())
    assert "5 of them do not say which model wrote them" in synthetic.table(found)
    with pytest.raises(ConfigError, match="no documents/ here"):
        synthetic.check(tmp_path / "documents")
