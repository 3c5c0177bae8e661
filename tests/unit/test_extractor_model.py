"""The extractor's model: labels by alignment, files that the kernel reads as they were trained, what ships."""

import hashlib
import random
import re

import lightgbm
import lxml.html
import numpy as np
import pyarrow as pa
import pytest

import corpus
from conftest import ROOT
from curate import kernels
from curate.stages import extract
from models.extractor import documentation, fit
from models.extractor.export import forest, model_file, table
from models.extractor.labels import label
from models.extractor.truth import Page

MODEL = ROOT / "rust/html/model/extractor.bin"

# A text extracted by another model is another text: a new model asks for a new version of the stage.
VERSIONS = {11: "3277534ef2a0684d014d58f08934cbc1c48ad443b4903781e9f181b61c1a544a"}


def page(blocks: list[str], truth: str, url: str = "https://a.test/") -> Page:
    html = "".join(f"<p>{block}</p>" for block in blocks).encode()
    return Page(url, url, "wcxb_dev", "article", "en", html, None, {"kind": "full", "main": truth})


def shares(blocks: list[str], truth: str) -> list[float]:
    found = label(page(blocks, truth), blocks)
    assert found is not None and found.whole
    return [round(float(share), 2) for share in found.share]


LONG = "The tide rises twice a day because the earth turns under the moon"
OTHER = "Read our privacy policy and accept all cookies before you go on reading"


def test_a_block_is_labelled_by_the_share_of_its_words_that_the_truth_has_in_order() -> None:
    assert shares([OTHER, LONG, "and nobody stops it"], f"{LONG} and nobody stops it") == [0, 1, 1]
    assert shares([LONG + " " + OTHER], LONG)[0] == pytest.approx(0.5, abs=0.05)


def test_a_copy_of_the_truth_counts_once() -> None:
    assert sorted(shares([LONG, OTHER, LONG], LONG)) == [0, 0, 1]


def test_a_block_that_the_truth_has_elsewhere_counts_while_its_words_are_unused() -> None:
    second = "Sailors have known as much for longer than anyone has written about it"
    assert shares([LONG, second], f"{second} {LONG}") == [1, 1]


def test_short_blocks_far_from_the_text_only_share_words_with_it() -> None:
    assert shares(["the moon", *[OTHER] * 20, LONG], f"the moon {LONG}") == [0] * 21 + [1]
    assert shares([*[OTHER] * 20, "the moon", LONG], f"the moon {LONG}") == [0] * 20 + [1, 1]


def test_every_cell_of_a_main_element_is_content_however_far_from_a_sentence() -> None:
    """The truth of documentation is exact: no distance makes a short block doubtful, and a sign alone says nothing."""
    cells = [f"key{i}" for i in range(40)]
    blocks = [LONG, *cells, "->", "Next page"]
    truth = {"kind": "elements", "main": " ".join([LONG, *cells])}
    found = label(Page("i", "u", "documentation", None, None, b"", None, truth), blocks)
    assert found is not None and found.share.tolist() == [1] * 41 + [-1, 0]
    assert shares(blocks, truth["main"])[20:] == [0] * 23  # of a text that somebody copied, 12 blocks away


def test_the_text_of_a_main_element_keeps_words_apart_as_its_elements_do() -> None:
    main = lxml.html.fromstring("<div><p>one <b>bo</b>ld</p><ul><li>a<li>b</ul><!-- no --><td>c</td>d</div>")
    assert documentation.text_of(main).split() == ["one", "bold", "a", "b", "c", "d"]


def test_passages_label_the_blocks_they_touch_and_no_others() -> None:
    unwanted = "policy and accept all cookies before you go on"
    truth = {"kind": "segments", "with": ["rises twice a day"], "without": [unwanted]}
    found = label(Page("i", "u", "s", None, None, b"", None, truth), [LONG, OTHER, "else"])
    assert found is not None and found.share.tolist() == [1, 0, -1] and not found.whole


def test_rows_reach_the_leaves_that_the_library_says() -> None:
    """Trained on noise over pages of every shape, stages agree with LightGBM on every block."""
    rng = random.Random(5)
    pages = [corpus.page(corpus.article(rng)) for _ in range(30)]
    data, charsets = pa.array(pages, pa.large_binary()), pa.array([""] * len(pages))
    blocks = sum(kernels.html_blocks(data, charsets)[0].to_pylist())
    names = np.unique(kernels.html_blocks(data, charsets)[2].values.to_numpy())
    draw = np.random.default_rng(5)
    linear = table(names, draw.normal(size=len(names))) + fit.NOTHING
    share = draw.random(blocks).astype(np.float32)
    first_rows = _rows(data, charsets, linear, None)
    settings = {**fit.TREES, "min_data_in_leaf": 2}
    first = [lightgbm.train({**settings, "seed": seed}, lightgbm.Dataset(first_rows, share), 20) for seed in (1, 2)]
    said = fit.probabilities(first, first_rows).astype(np.float32)
    second_rows = _rows(data, charsets, linear, pa.array(said))
    second = [lightgbm.train({**settings, "seed": seed}, lightgbm.Dataset(second_rows, share), 20) for seed in (1, 2)]
    model = model_file(linear + fit.NOTHING, first, second)
    expected = fit.probabilities(second, second_rows)
    found = [block for one in pages for block in kernels.explain_html(one, model=model)]
    assert np.allclose([block[2] for block in found], said, atol=2e-4)
    # What the first stage says is rounded, so a block may fall on the other side of one of the second's thresholds.
    close = np.isclose([block[3] for block in found], expected, atol=2e-3)
    assert close.mean() > 0.98


def _rows(data: pa.Array, charsets: pa.Array, linear: bytes, said: pa.Array | None) -> np.ndarray:
    n = sum(kernels.html_blocks(data, charsets)[0].to_pylist())
    return np.asarray(kernels.html_rows(data, charsets, tables=linear + fit.NOTHING, said=said)).reshape(n, -1)


def test_training_is_the_same_every_time_and_finds_what_the_truth_says() -> None:
    rng = random.Random(3)
    pages = []
    for i in range(200):
        text = corpus.article(rng)
        html = (
            corpus.page(text, title=f"Page {i}") + b"<footer><p>Imprint, privacy, cookies, terms of use.</p></footer>"
        )
        url = f"https://site{i}.test/"
        pages.append(Page(url, url, "wcxb_dev", "article", "en", html, None, {"kind": "full", "main": text}))
    made = fit.corpus_of([pages], frozenset(), folds=2)
    fitted = [fit.fit_folds(made, 2) for _ in range(2)]
    assert fitted[0].models == fitted[1].models
    assert fit.fit_all(made, fitted[0]) == fit.fit_all(made, fitted[1])
    texts = fit.texts_of_folds(made, fitted[0].models)
    assert not any("Imprint" in text for text in texts.values())
    assert all(page.truth and page.truth["main"][:60] in texts[page.record_id] for page in pages)


def test_the_kind_of_a_page_is_learned_from_its_tokens() -> None:
    """Forums by their class names, products by their prices; a page of neither is what most pages are."""
    rng = random.Random(7)
    pages = []
    for i in range(90):
        kind, names, extra = [
            ("article", "entry", ""),
            ("forum", "topic-post", ""),
            ("product", "entry", "<p>$ 9.99</p><p>$ 8</p>"),
        ][i % 3]
        html = f"<div class='{names}'><p>{corpus.article(rng)}</p></div>{extra}".encode()
        truth = {"kind": "full", "main": ""}
        pages.append(Page(f"{i}", f"https://site{i}.test/", "wcxb_dev", kind, "en", html, None, truth))
    made = fit.corpus_of([pages], frozenset(), folds=2)
    trained = fit.fit_kinds(made, made.folds == 0)
    forest_of_none = _nothing()
    model = fit.model_file(fit.NOTHING * 2 + trained, *forest_of_none)
    data, charsets = made.only(made.folds == 1)
    found = kernels.extract_html(data, charsets, model=model).to_pylist()
    wanted = [page.page_type for page, fold in zip(pages, made.folds, strict=True) if fold == 1]
    assert [row["page_type"] for row in found] == wanted
    assert all(0.4 < row["page_type_score"] <= 1 for row in found)


def _nothing() -> tuple[list[lightgbm.Booster], list[lightgbm.Booster]]:
    """Boosters of both stages that know nothing."""
    n_second = len(kernels.html_features())
    n_first = next(i for i, (name, _, _) in enumerate(kernels.html_features()) if name.startswith("said"))
    settings = {**fit.TREES, "min_data_in_leaf": 1}
    rows = np.random.default_rng(2).random((50, n_second)).astype(np.float32)
    data = [lightgbm.Dataset(rows[:, :n], rows[:, 0], params=settings) for n in (n_first, n_second)]
    return [lightgbm.train(settings, data[0], 1)], [lightgbm.train(settings, data[1], 1)]


def test_a_forest_of_too_many_thresholds_is_refused() -> None:
    rows = np.random.default_rng(1).random((5000, 1)).astype(np.float32)
    settings = {"objective": "cross_entropy", "num_leaves": 32, "max_bin": 4000, "verbose": -1, "min_data_in_leaf": 1}
    booster = lightgbm.train(settings, lightgbm.Dataset(rows, rows[:, 0], params=settings), 60)
    with pytest.raises(ValueError, match="lower max_bin"):
        forest([booster])


def test_the_model_that_ships_is_the_one_of_its_card_and_of_the_stage() -> None:
    sha256 = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    card = (MODEL.parent / "CARD.md").read_text()
    assert re.findall(r"SHA-256 `(\w+)`", card) == [sha256]
    assert MODEL.stat().st_size <= 350_000
    assert VERSIONS[extract.STAGE.version] == sha256
