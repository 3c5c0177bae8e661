"""--against: documents that are like those of another corpus go; that corpus stays, and nothing of it is written."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import corpus
from curate.config import parse_yaml
from curate.errors import ConfigError
from curate.run import driver
from curate.run.recipe import resolve

RNG = random.Random(9)
ARTICLES = [corpus.article(RNG, 30) for _ in range(6)]
FOOTER = "this footer stands on all pages of the site, old and new\n"


def near(text: str) -> str:
    words = text.split(" ")
    return " ".join([*words[:50], "changed", *words[51:]])


def write(path: Path, texts: list[str], **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": texts, **columns}), path)
    return path.parent


def texts_of(out: Path) -> list[str]:
    return [text for path in sorted((out / "documents").glob("*")) for text in pq.read_table(path)["text"].to_pylist()]


@pytest.mark.parametrize(
    ("command", "kept", "left"),
    [
        ("exact-dedup", ARTICLES[:2], [near(ARTICLES[1]), ARTICLES[3]]),
        ("near-dedup", ARTICLES[:2], [ARTICLES[3]]),
        (
            "line-dedup",
            [f"an old page\n{FOOTER}"],
            [ARTICLES[0], near(ARTICLES[1]), ARTICLES[3], "a new page"],
        ),
    ],
)
def test_what_is_like_the_kept_goes(
    command: str, kept: list[str], left: list[str], curate: Any, tmp_path: Path
) -> None:
    """Files of both have one name; a column of the kept alone does not come into the documents."""
    old = write(tmp_path / "kept" / "a.parquet", kept, age=[1] * len(kept))
    new = [ARTICLES[0], near(ARTICLES[1]), ARTICLES[3], ARTICLES[3]]
    options = []
    if command == "line-dedup":
        new.append(f"a new page\n{FOOTER}")
        options = ["--min-count", "2"]
    folder = write(tmp_path / "new" / "a.parquet", new)
    out = tmp_path / "out"
    done = curate(command, folder, "--against", old, "--out", out, "--workers", 1, *options)
    assert done.code == 0, done.err
    assert [text.strip() for text in texts_of(out)] == left
    (file,) = (out / "documents").glob("*.parquet")
    assert "age" not in pq.read_schema(file).names
    again = curate(command, folder, "--against", old, "--out", out, "--workers", 1, *options)
    assert again.code == 0 and "0 tasks ran" in again.err + again.out


def recipe(tmp_path: Path, *steps: Any, new: str = "new", kept: str = "kept") -> Any:
    inputs = [{"path": str(tmp_path / new)}, {"path": str(tmp_path / kept), "against": True}]
    return resolve(parse_yaml(str({"version": 1, "inputs": inputs, "steps": list(steps)}), "r.yaml"))


def test_a_run_is_compared_with_in_a_recipe(inline: None, tmp_path: Path) -> None:
    """The kept are a finished run, whose ids name them in the rejects; steps that do not compare leave them alone."""
    write(tmp_path / "old" / "a.parquet", ARTICLES[:3])
    first = resolve(
        parse_yaml(str({"version": 1, "inputs": [{"path": str(tmp_path / "old")}], "steps": ["normalize"]}), "r")
    )
    assert driver.run(first, tmp_path / "kept").exit_code == 0
    write(tmp_path / "new" / "b.parquet", [near(ARTICLES[1]), ARTICLES[2], ARTICLES[4]])
    made = recipe(tmp_path, "normalize", "exact_dedup", "near_dedup", {"filter": {"preset": "gopher@dclm"}})
    done = driver.run(made, tmp_path / "out")
    assert done.exit_code == 0
    rejects = [r for path in (tmp_path / "out" / "rejects").glob("*") for r in pq.read_table(path).to_pylist()]
    ids = {row["text"]: row["doc_id"].hex() for row in pq.read_table(tmp_path / "kept" / "documents").to_pylist()}
    told = {(r["rule"], r["detail"].rpartition(" ")[2]) for r in rejects if r["rule"].endswith(".copy")}
    assert told == {("exact_dedup.copy", ids[ARTICLES[2]]), ("near_dedup.copy", ids[ARTICLES[1]])}
    assert sum(driver.run(made, tmp_path / "out").ran.values()) == 0


def test_mistakes_are_named(inline: None, tmp_path: Path) -> None:
    write(tmp_path / "new" / "a.parquet", ARTICLES[:1])
    write(tmp_path / "kept" / "a.parquet", ARTICLES[:1])
    with pytest.raises(ConfigError, match="this recipe has none"):
        driver.run(recipe(tmp_path, "normalize"), tmp_path / "x")
    only = resolve(parse_yaml(str({"version": 1, "inputs": [{"path": str(tmp_path / "kept"), "against": True}],
                                   "steps": ["exact_dedup"]}), "r"))  # fmt: skip
    with pytest.raises(ConfigError, match="every input is only compared with"):
        driver.run(only, tmp_path / "y")
    corpus.write_warc(tmp_path / "pages" / "a.warc", [("https://e.test/", corpus.page(ARTICLES[0]))])
    with pytest.raises(ConfigError, match="it holds pages"):
        driver.run(recipe(tmp_path, "exact_dedup", kept="pages"), tmp_path / "z")
