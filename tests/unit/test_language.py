"""Language identification: the labels of py3langid, whose model it reads."""

import io
import json
import random
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from py3langid.langid import MODEL_FILE, LanguageIdentifier

import corpus
from curate import language
from curate.stages import langid

WORDS = ["здравствуйте", "人民", "γλώσσα", "straße", "THE", "İSTANBUL", "e\u0301t\u0302e", "\u00a0", "12", "!?"]
WORDS += ["😀", "ไทย", "עברית", "العربية", "\ufb01", "\u01c5"]


def texts() -> list[str]:
    """Words of many scripts in every mix, articles, what has no letters, and lengths about that of four streams."""
    rng = random.Random(3)
    mixed = [" ".join(rng.choices(WORDS, k=rng.randrange(30))) for _ in range(300)]
    article = corpus.article(rng)
    return [*mixed, *(article[:n] for n in range(130)), article, article.upper(), "", "\x00", "123 456", "x" * 5000]


def assert_labels(found: list[str]) -> None:
    theirs = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=langid.NOTHING_FOUND)
    config = langid.LangId()
    rows = pa.RecordBatch.from_pydict({"text": pa.array(found, pa.large_string())})
    said = langid.apply(rows, langid.open_state(config, None)).batch.to_pydict()  # type: ignore[arg-type]
    expected = [theirs.classify(text[: config.characters]) for text in found]
    assert said["lang"] == [label for label, _ in expected]
    assert said["lang_score"] == pytest.approx([score for _, score in expected], abs=1e-4)


def test_every_label_is_the_one_that_py3langid_gives() -> None:
    assert_labels(texts())


@pytest.mark.realdata
def test_every_label_is_the_one_that_py3langid_gives_on_real_sentences(shared: Path) -> None:
    with (shared / "langid/lingua_sentences.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        assert_labels([json.loads(line)["text"] for line in lines][::8])


@pytest.mark.slow
def test_a_cached_model_that_is_damaged_or_cannot_be_written_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = pa.array(["The children walked home along the river."], pa.large_string())

    def found() -> str:
        language.load.cache_clear()
        return json.dumps([column.to_pylist() for column in language.load().identify(text, characters=1000)])

    first = found()
    (cached,) = (tmp_path / "curate").iterdir()
    whole = cached.read_bytes()
    cached.write_bytes(whole[: len(whole) // 2])
    assert found() == first and cached.read_bytes() == whole
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert found() == first
