"""`train audit` and `train ablate` as a user meets them: plant, train, audit, stop, go on; and what they refuse."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import corpus
import shards as made
from conftest import Finished

STEPS, T, BATCH = 30, 48, 4
SMALL = ["--size", "tiny", "--tokens", STEPS * T * BATCH]
SMALL += [part for text in (f"sequence_length={T}", f"batch_rows={BATCH}", "threads=1") for part in ("--set", text)]
SPANS = [
    part for text in ("prefix=12", "suffix=8", "prefixes=[4, 12, 20, 200]", "spans=40") for part in ("--set", text)
]
CANARIES = [part for text in ("each=2", "repeats=[0, 3]", "candidates=64") for part in ("--set", text)]


@pytest.fixture(scope="module")
def train() -> Callable[..., Finished]:
    """`train("run", "--data", …)` in this process: the entry point itself, without the seconds of its imports."""
    import contextlib
    import io

    from train.cli import main

    def call(*arguments: object) -> Finished:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
            main(list(map(str, arguments)))
        return Finished(end.value.code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, train: Callable[..., Finished]) -> tuple[Path, Path, Path]:
    """A run with canaries, a model trained on it, and one trained on the run without them."""
    home = tmp_path_factory.mktemp("audit")
    made.real_run(home / "data")
    planted = train("audit", "plant", "--data", home / "data", "--out", home / "planted", *CANARIES, "--json")
    assert planted.code == 0, planted.err
    assert planted.json["planted"] == 6
    for data, out in (("planted", "model"), ("data", "other")):
        done = train("run", "--data", home / data, "--out", home / out, *SMALL)
        assert done.code == 0, done.err
    return home / "planted", home / "model", home / "other"


def test_an_audit_gives_rates_with_intervals_rows_and_goes_on_where_it_was_stopped(
    trained: tuple[Path, Path, Path], tmp_path: Path, train: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, model, other = trained
    audit = [
        "audit",
        "memorization",
        "--checkpoint",
        model,
        "--data",
        data,
        "--reference",
        other,
        *SPANS,
        "--threads",
        1,
    ]
    done = train(*audit, "--out", tmp_path / "whole", "--json")
    assert done.code == 0, done.err
    found = done.json
    assert json.loads((tmp_path / "whole" / "audit.json").read_text()) == found
    told = found["discoverable"]
    assert (
        found["documents"]
        == 30
        == told["extracted"]["n"]
        + sum((found["left_out"]["short"], found["left_out"]["unread"], found["low_entropy"]["extracted"]["n"]))
    )
    for one in (told["extracted"], told["reference"], told["heldout"]["extracted"], told["right"]):
        assert one["low"] <= one["value"] <= one["high"] and one["n"]
    assert {"times_read", "occurrences", "last_step", "source"} <= found["groups"].keys()
    assert sum(group["extracted"]["n"] for group in found["groups"]["last_step"]) == told["extracted"]["n"]
    assert {name: len(one) for name, one in found["membership"].items()} == dict.fromkeys(
        ("loss", "zlib", "min_k", "min_k_pp", "reference"), 2
    )
    assert found["prefixes_left_out"] == [200]
    assert [one["prefix"] for one in found["sweep"]] == [4, 12, 20] and len(found["drawn"]) == 15
    assert [(one["repeats"], one["exposure"]["n"]) for one in found["canaries"]["levels"]] == [(0, 2), (3, 2)]
    rows = pq.read_table(tmp_path / "whole" / "spans.parquet").to_pylist()
    inside = [row for row in rows if not row["heldout"]]
    steps = [json.loads(line) for line in (model / "metrics.jsonl").read_text().splitlines()]
    assert all(row["times_read"] >= 1 and 0 <= row["last_step"] < len(steps) for row in inside)
    assert all(row["occurrences"] >= 1 for row in inside) and len(rows) > len(inside) == told["extracted"]["n"]
    assert pq.read_table(tmp_path / "whole" / "canaries.parquet").num_rows == 4

    # Stopped after two passes, it computes only what is missing, and gives the same.
    from train.audit import tried

    forced, calls = tried.forced, []

    def counted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return forced(*arguments)

    monkeypatch.setattr(tried, "forced", counted)
    assert train(*audit, "--out", tmp_path / "parts").code == 130
    shown = train(*audit, "--out", tmp_path / "parts")
    assert shown.code == 0 and "never saw them" in shown.out and "canaries planted" in shown.out
    assert len(calls) == 3 + 2 * (2 + 3) - 2
    for name in ("audit.json", "spans.parquet"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_does_not_fit_is_told(
    trained: tuple[Path, Path, Path], tmp_path: Path, train: Callable[..., Finished]
) -> None:
    data, model, other = trained

    def refused(*arguments: object) -> str:
        done = train("audit", "memorization", "--checkpoint", model, "--out", tmp_path / "out", *arguments)
        assert done.code in (1, 2) and "Traceback" not in done.err, done.err
        return " ".join(done.err.split())

    plain = data.parent / "data"
    assert "was not trained on the tokens in" in refused("--data", plain, *SPANS)
    assert "it was trained on the same tokens" in refused("--data", data, "--reference", model, *SPANS)
    assert "trained on rows of 48" in refused("--data", data)
    assert "--set prefx=3: prefx: no such setting; did you mean" in refused("--data", data, "--set", "prefx=3")
    assert "no documents/ here" in refused("--data", data, *SPANS, "--copies", plain)
    long = ["--set", "prefix=40", "--set", "suffix=8", "--set", "prefixes=[40]"]
    short = made.write_run(
        tmp_path / "short", {"web": [[1, 2, 3]] * 40}, vocab_size=400, tokenizer=(plain / "tokenizer.json").read_bytes()
    )
    assert train("run", "--data", short, "--out", tmp_path / "m", *SMALL[:2], "--tokens", 96, *SMALL[4:]).code == 0
    done = train(
        "audit", "memorization", "--checkpoint", tmp_path / "m", "--data", short, "--out", tmp_path / "o", *long
    )
    assert done.code == 1 and "none that training read has 48 tokens in a row" in " ".join(done.err.split())
    assert other.exists()


@pytest.mark.slow
def test_an_ablation_goes_from_recipes_to_differences_and_goes_on_where_it_was_stopped(
    tmp_path: Path, train: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(1)
    articles = [corpus.article(rng, 8) for _ in range(150)]
    short = [" ".join(["buy"] * rng.randrange(3, 30)) for _ in range(50)]
    for name, texts in (("docs", articles[:120] + short), ("news", articles[120:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    for name, steps in (("raw", "[normalize]"), ("kept", "[normalize, {filter: {preset: gopher@dclm}}]")):
        recipe = f"version: 1\nguard: off\ninputs: [{{path: {tmp_path / 'docs.jsonl'}}}]\nsteps: {steps}\n"
        (tmp_path / f"{name}.yaml").write_text(recipe)
    asked = ["ablate", tmp_path / "raw.yaml", tmp_path / "kept.yaml", "--heldout", tmp_path / "news.jsonl", *SMALL]
    items = [{"query": "Which one?", "choices": ["the stone", "a letter", "no"], "gold": n % 3} for n in range(6)]
    items.append({"query": "long " * 60, "choices": ["a", "b"], "gold": 0})
    (tmp_path / "which.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    asked += [
        "--task",
        tmp_path / "which.jsonl",
        "--vocab-size",
        400,
        "--points",
        2,
        "--workers",
        1,
        "--out",
        tmp_path / "out",
    ]

    from train.ablation import runs

    trained, calls = runs.train, []

    def counted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return trained(*arguments)

    monkeypatch.setattr(runs, "train", counted)
    assert train(*asked).code == 130
    done = train(*asked, "--json")
    assert done.code == 0, done.err
    assert len(calls) == 5  # two models were finished, and are not opened again
    found = done.json
    removed = {row["rule"]: row["documents"] for row in found["rules"]["kept"]["removed"]}
    assert sum(removed.values()) >= 50 and "gopher.min_words" in removed
    (apart,) = found["differences"]
    assert apart["difference"]["low"] <= apart["difference"]["value"] <= apart["difference"]["high"]
    for one in found["tasks"]:
        assert one["too_long"] == 1 and one["accuracy"]["n"] == 6 and one["accuracy"]["value"] == pytest.approx(1 / 3)
    assert found["tasks"][1]["difference"]["low"] <= 0 <= found["tasks"][1]["difference"]["high"]
    assert [len(one["tokens"]) for one in found["curves"]] == [2, 2]
    page = (tmp_path / "out" / "ablation.html").read_text()
    data = page.partition('id="data">')[2].partition("</script>")[0]
    assert json.loads(data) == found == json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert page.count("<svg") == 3 and "http" not in page
    assert train(*asked, "--seeds", 3).code == 0 and len(calls) == 7  # a model more of each arm
    refused = train(*asked, "--points", 3)
    assert refused.code == 2 and "points: 2 before, 3 now" in refused.err


@pytest.mark.slow
def test_generations_learn_from_each_other_and_what_they_wrote_is_marked(
    trained: tuple[Path, Path, Path], tmp_path: Path, train: Callable[..., Finished]
) -> None:
    data = trained[0].parent / "data"
    settings = [p for text in SMALL[5::2] for p in ("--train", text)]
    asked = ["audit", "collapse", "--data", data, "--size", "tiny", *settings, "--out", tmp_path / "out"]
    few = ["--set", "documents=20", "--set", "rows=8"]
    done = train(*asked, *few, "--set", "generations=2", "--json")
    assert done.code == 0, done.err
    found = done.json
    assert [(one["keep"], one["generation"]) for one in found["generations"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    counts = {
        keep: json.loads((tmp_path / "out" / f"keep-{keep}-1/generation-1/data/tokens/manifest.json").read_text())
        for keep in (0, 1)
    }
    assert {keep: one["sources"]["documents"]["documents"] for keep, one in counts.items()} == {0: 20, 1: 40}
    rows = pq.read_table(tmp_path / "out/keep-0-1/generation-0/documents").to_pylist()
    assert len(rows) == 20 == len({row["doc_id"] for row in rows})
    assert all(row["synthetic"] and len(row["generator"]) == 64 and len(row["prompt_hash"]) == 64 for row in rows)
    page = (tmp_path / "out" / "collapse.html").read_text()
    assert json.loads(page.partition('id="data">')[2].partition("</script>")[0]) == found

    # Another generation goes on with what there is; other documents would not.
    before = (tmp_path / "out/keep-0-1/generation-1/model/metrics.jsonl").stat().st_mtime_ns
    assert train(*asked, *few, "--set", "generations=3").code == 0
    assert (tmp_path / "out/keep-0-1/generation-1/model/metrics.jsonl").stat().st_mtime_ns == before
    refused = train(*asked, "--set", "documents=15", "--set", "rows=8")
    assert refused.code == 2 and "it holds lines of another documents" in " ".join(refused.err.split())
    assert train(*asked, "--set", "documents=99").code == 2
