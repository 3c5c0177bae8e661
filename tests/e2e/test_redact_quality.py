"""redact on labelled texts: precision and recall by type, as `curate audit redact` measures them."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

import corpus

LEAST = {
    "email": (0.99, 0.99), "ip": (0.99, 0.99), "ssn": (0.99, 0.99), "iban": (0.99, 0.89), "card": (0.98, 0.98),
    "phone": (0.90, 0.60),
}  # fmt: skip
"""Least precision and recall on synth_dataset_v2, which was made from templates; presidio's phone: .73, .59."""


def archive(shared: Path, name: str) -> bytes:
    """A file of the archive of labelled texts."""
    with (shared / "pii/pii.tar.zst").open("rb") as file:
        data = zstandard.ZstdDecompressor().stream_reader(file).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        member = tar.extractfile(next(m for m in tar if m.name.endswith(name)))
        assert member is not None
        return member.read()


@pytest.mark.realdata
def test_precision_and_recall_on_labelled_texts(shared: Path, tmp_path: Path, said: Any) -> None:
    rows = [
        {"text": row["full_text"],
         "spans": [{"start": s["start_position"], "end": s["end_position"], "type": s["entity_type"]}
                   for s in row["spans"]]}
        for row in json.loads(archive(shared, "synth_dataset_v2.json"))
    ]  # fmt: skip
    done = said("audit", "redact", "--labels", corpus.write_jsonl(tmp_path / "labels.jsonl", rows), "--json")
    assert done.code == 0, done.err
    for line in done.json["labels"]["lines"]:
        precision, recall = LEAST[line["type"]]
        assert line["precision"] >= precision and line["recall"] >= recall, line
        assert line["again"] == 0
