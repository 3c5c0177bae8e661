"""Peers of redact, run by an interpreter that has them: `python pii_peers.py datatrove|presidio TEXTS.json`.

datatrove lives in an environment of its own (environments.py), so this file imports nothing of ours. Reads a JSON
list of texts and prints one JSON object: the peer's version, CPU seconds of the best of two rounds, and, of presidio,
the spans found.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

Spans = list[list[list[object]]]  # of each text: [first character, end, entity]
RECOGNIZERS = ("Email", "Ip", "Phone", "CreditCard", "Iban", "UsSsn")


def datatrove(texts: list[str]) -> Spans:
    """PIIFormatter with its defaults: e-mail addresses and public IPv4 addresses."""
    from datatrove.pipeline.formatters import PIIFormatter

    formatter = PIIFormatter()
    for text in texts:
        formatter.format(text)
    return []


def presidio(texts: list[str]) -> Spans:
    """The recognizers of our six default types, on the engine without a language model."""
    sys.modules.update(dict.fromkeys(("torch", "transformers")))  # imported where they are there, and not used
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, predefined_recognizers
    from presidio_analyzer.nlp_engine import NoOpNlpEngine

    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    made = [getattr(predefined_recognizers, f"{name}Recognizer")() for name in RECOGNIZERS]
    registry = RecognizerRegistry(recognizers=made, supported_languages=["en"])
    nothing = NoOpNlpEngine([{"lang_code": "en", "model_name": "no_op"}])
    nothing.load()
    engine = AnalyzerEngine(registry=registry, nlp_engine=nothing, supported_languages=["en"])
    engine.analyze("warm up 8.8.8.8", "en")
    global began
    began = time.process_time()
    return [[[hit.start, hit.end, hit.entity_type] for hit in engine.analyze(text, "en")] for text in texts]


PEERS: dict[str, tuple[Callable[[list[str]], Spans], str]] = {
    "datatrove": (datatrove, "datatrove"),
    "presidio": (presidio, "presidio-analyzer"),
}
began = 0.0  # when the round began, after what is prepared once

if __name__ == "__main__":
    name, path = sys.argv[1:]
    texts = json.loads(Path(path).read_text())
    function, distribution = PEERS[name]
    best = float("inf")
    for _ in range(2):
        began = time.process_time()
        spans = function(texts)
        best = min(best, time.process_time() - began)
    print(json.dumps({"version": version(distribution), "cpu": best, "spans": spans}))
