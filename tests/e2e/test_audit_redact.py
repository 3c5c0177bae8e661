"""`curate audit redact`: precision and recall by type, what redacted texts still hold, and labels that are none."""

import json
from pathlib import Path
from typing import Any

import pytest

import corpus

TEXTS = [
    ("Write to ann@example.org, or call (312) 644-2000.", [("ann@example.org", "email"), ("(312) 644-2000", "phone")]),
    ("Äpfel von Jürgen: juergen@example.org", [("juergen@example.org", "EMAIL_ADDRESS"), ("Jürgen", "PERSON")]),
    ("Room 12 of 93.184.216.34", [("Room 12", "phone")]),
]


def labels(path: Path) -> Path:
    rows = [
        {
            "text": text,
            "spans": [{"start": text.find(v), "end": text.find(v) + len(v), "type": kind} for v, kind in spans],
        }
        for text, spans in TEXTS
    ]
    return corpus.write_jsonl(path, rows)


def test_precision_and_recall_by_type(tmp_path: Path, said: Any) -> None:
    path = labels(tmp_path / "labels.jsonl")
    done = said("audit", "redact", "--labels", path, "--json")
    assert done.code == 0, done.err
    facts = done.json["labels"]
    lines = {line["type"]: line for line in facts["lines"]}
    assert (facts["texts"], facts["unscored"]) == (3, {"person": 1})
    assert lines["email"] == {
        "type": "email",
        "labels": 2,
        "found": 2,
        "precision": 1,
        "recall": 1,
        "left": 0,
        "again": 0,
    }
    assert lines["phone"] == {
        "type": "phone",
        "labels": 2,
        "found": 1,
        "precision": 1,
        "recall": 0.5,
        "left": 1,
        "again": 0,
    }
    assert (lines["ip"]["found"], lines["ip"]["precision"], lines["ip"]["recall"]) == (1, 0, None)
    done = said("audit", "redact", "--labels", path, "--set", "style=realistic", "--set", "types=[email]")
    assert done.code == 0 and "labels of other types: person 1, phone 2" in done.out
    assert "ann@" not in done.out and "juergen" not in done.out


def test_what_documents_still_hold(tmp_path: Path, said: Any) -> None:
    corpus.write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text, _ in TEXTS])
    before = said("audit", "redact", tmp_path / "a.jsonl", "--json").json["documents"]
    assert (before["documents"], before["with_values"]) == (3, 3)
    assert {line["type"]: line["values"] for line in before["lines"] if line["values"]} == {
        "email": 2,
        "ip": 1,
        "phone": 1,
    }
    for style in ("placeholder", "realistic"):
        out = tmp_path / style
        assert said("redact", tmp_path / "a.jsonl", "--out", out, "--workers", 1, "--style", style).code == 0
        after = said("audit", "redact", out, "--set", f"style={style}", "--json").json["documents"]
        assert after["with_values"] == 0, style
    assert "0 with values" in said("audit", "redact", tmp_path / "placeholder").out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "labels.jsonl:2: no labelled text"),
        ('{"spans": []}', "labels.jsonl:2: no labelled text: the key 'text' is missing"),
        (
            '{"text": "a", "spans": [{"start": 0, "end": 2, "type": "email"}]}',
            "a span from 0 to 2 in a text of 1 characters",
        ),
        ('{"text": "a\\ud800", "spans": []}', "labels.jsonl:2"),
        ('{"text": 1, "spans": []}', "text is int"),
        ("[]", "labels.jsonl:2"),
    ],
)
def test_a_line_that_is_no_label_is_named(line: str, message: str, tmp_path: Path, said: Any) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({"text": "a", "spans": []}) + "\n" + line + "\n")
    done = said("audit", "redact", "--labels", path)
    assert done.code in (1, 2) and message in " ".join(done.err.split()), done.err


def test_what_cannot_be_measured(tmp_path: Path, said: Any) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    for arguments, message in [
        ([], "give documents to look through, or --labels FILE"),
        (["--labels", tmp_path / "empty.jsonl"], "holds no labelled text"),
        (["--labels", tmp_path / "none.jsonl"], "none.jsonl"),
        (
            ["--labels", tmp_path / "empty.jsonl", "--set", "types=[mail]"],
            '--set types=[mail]: types: no type is named "mail"',
        ),
    ]:
        done = said("audit", "redact", *arguments)
        assert done.code in (1, 2) and message in " ".join(done.err.split()), (arguments, done.err)
