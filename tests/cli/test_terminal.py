"""Facts are rendered as tables and sentences for 80 columns; which rows are shown is decided there."""

from pathlib import Path

import pytest

from curate.report import terminal
from curate.report.progress import Progress
from curate.run.estimate import Estimate, PassEstimate
from curate.run.funnel import Funnel, FunnelStep, RuleCount
from curate.stages.protocol import Forecast


def rules(n: int) -> list[RuleCount]:
    return [RuleCount(f"gopher.rule_{i:02d}", 100 - i, "drop", 1.0, "words") for i in range(n)]


def test_a_funnel_shows_steps_with_news_and_their_rules() -> None:
    steps = [
        FunnelStep("read", 1500, 1500, 10**7, 10**7),
        FunnelStep("filter", 1500, 900, 10**7, 6 * 10**6, seconds=1.25, rules=rules(14)),
        FunnelStep("exact_dedup.hash", 900, 900),
        FunnelStep("exact_dedup.apply", 900, 880, rules=[RuleCount("exact_dedup.copy", 20, "drop")]),
        FunnelStep("redact", 880, 880, rules=[RuleCount("redact.email", 31, "mark")]),
        FunnelStep("holdout", 880, 800, set_aside=80),
        FunnelStep("tokenize(heldout)", 80, 80),
        FunnelStep("mix", 0, 0),
    ]
    lines = terminal.funnel(Funnel(steps, {}, [], [])).splitlines()
    assert lines[0].split() == ["step", "in", "out", "kept", "text", "in", "text", "out", "s"]
    assert lines[1].split() == ["filter", "1,500", "900", "60.0%", "10", "MB", "6", "MB", "1.2"]
    assert lines[2].split() == ["gopher.rule_00", "100"] and lines[14].split() == ["and", "2", "more", "rules", "175"]
    shown = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert shown == ["step", "filter", "exact_dedup", "redact", "holdout", "mix"]
    assert "  marked redact.email" in "\n".join(lines) and lines[-2].split() == ["set", "aside", "80"]


def test_what_the_reader_saw_is_a_line() -> None:
    reader = {"other_records": {"request": 1200, "warcinfo": 2}, "skipped_bytes": 5000}
    shown = terminal.reader(Funnel([], reader, [], []))
    assert shown == "not documents: 1,200 request, 2 warcinfo, 5,000 damaged bytes skipped"
    assert terminal.reader(Funnel([], {"other_records": {}, "skipped_bytes": 0}, [], [])) == ""


FORECAST = Forecast(["It finds most, " * 12], ["disk keys", "peak"], [(1000, 5e6, 1e9), (1_000_000, 5e9, 2e9)])


def test_a_plan_shows_passes_estimates_and_forecasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    passes = (PassEstimate("00-extract", "each", 3, True), PassEstimate("01-exact_dedup.pick", "part", 4, False))
    facts = Estimate(1, 1000, 2000, 4, passes, 5 * 10**6, 2, 10**9, 4 * 10**8, (FORECAST,))
    shown = terminal.estimate(facts)
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert shown.startswith("1 input file, 1 KB, about 2,000 documents, 4 partitions\n\npass ")
    assert "about 5 MB on disk while it runs; 2 workers of about 400 MB of memory each, 1 GB" in " ".join(shown.split())
    assert shown.splitlines()[-1].split() == ["1,000,000", "5", "GB", "2", "GB"]
    data = facts.to_json()
    assert data["passes"][1] == {"pass": "01-exact_dedup.pick", "shape": "part", "tasks": 4, "documents_kept": False}
    assert data["forecasts"][0]["columns"] == ["disk keys", "peak"]


def test_the_log_has_one_harmless_line_an_event(tmp_path: Path) -> None:
    with Progress(tmp_path) as watcher:
        watcher.expect([FORECAST])
        watcher.log("a\x1b.gz:\nerror: forged")
        watcher.begin("00-extract", 3, 1)
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert lines[-2].endswith(" a\\x1b.gz:\\nerror: forged") and lines[-1].endswith(
        "00-extract: 3 tasks to run, 1 done before"
    )
    assert all(line[:4].isdigit() for line in lines)
