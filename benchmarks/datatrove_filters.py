"""datatrove's filters on documents, run by an interpreter that has datatrove: `python datatrove_filters.py DOCS OUT`.

DOCS is a JSONL file with a `text` in each line. OUT gets one JSON object: for each preset that follows datatrove the
verdict on each document, "" for one that stays and else the name of the rule; the text that C4's filter leaves; the CPU
seconds of all four filters on every document, with the words of a document cached from filter to filter; and versions.
This file imports nothing of ours.
"""

import json
import sys
import time
from importlib.metadata import version
from typing import Any


def main(docs: str, out: str) -> None:
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.utils.word_tokenizers import load_word_tokenizer
    from loguru import logger

    logger.remove()
    filters: dict[str, Any] = {
        "gopher-repetition@datatrove": GopherRepetitionFilter(),
        "gopher@datatrove": GopherQualityFilter(),
        "c4@datatrove": C4QualityFilter(),
        "fineweb@datatrove": FineWebQualityFilter(),
    }
    load_word_tokenizer("eng").word_tokenize("It is loaded before the clock starts.")
    with open(docs, encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    verdicts: dict[str, list[str]] = {name: [] for name in filters}
    left = []
    began = time.process_time()
    for text in texts:
        for name, one in filters.items():
            document = Document(text=text, id="0")
            try:
                found = one.filter(document)
            except ZeroDivisionError:  # a text without words; the filters before it drop such
                found = (False, "division by zero")
            verdicts[name].append("" if found is True else str(found[1]))
            if name == "c4@datatrove":
                left.append(document.text)
    cpu = time.process_time() - began
    versions = {name: version(name) for name in ("datatrove", "spacy")}
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"verdicts": verdicts, "left": left, "cpu": cpu, "versions": versions}, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
