"""Encoders of others, run by an interpreter that has one: `python encoding_peers.py gigatoken|tokenizers TOKENIZER`.

Each lives in an environment of its own (environments.py), so this file imports nothing of ours. It reads one JSON list
a line, a command and its arguments, and answers each with one line of JSON, so that rounds of several encoders can
take turns. All on one thread; times are CPU seconds of this process.
"""

import array
import hashlib
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any


def gigatoken(path: str) -> dict[str, Callable[[list[str]], Any]]:
    """Its faces that take documents: lists in, an awkward array or lists out."""
    from gigatoken import Tokenizer

    tokenizer = Tokenizer(path)
    return {
        "batch": lambda texts: tokenizer.encode_batch(texts, parallel=False),
        "array": lambda texts: tokenizer.encode_batch(texts, parallel=False),
        "lists": lambda texts: tokenizer.encode_batch_list(texts, parallel=False),
    }


def tokenizers(path: str) -> dict[str, Callable[[list[str]], Any]]:
    """One by one and in batches; `ids` makes a list, which is not made before it is asked for."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    options = {"add_special_tokens": False, "encode_special_tokens": True}
    return {
        "single": lambda texts: [tokenizer.encode(text, **options) for text in texts],
        "batch": lambda texts: tokenizer.encode_batch(texts, **options),
        "lists": lambda texts: [encoding.ids for encoding in tokenizer.encode_batch(texts, **options)],
    }


PEERS = {"gigatoken": gigatoken, "tokenizers": tokenizers}


def digest(documents: list[list[int]]) -> str:
    """One number for all ids and the documents' borders."""
    ids = hashlib.sha256()
    for document in documents:
        ids.update(len(document).to_bytes(8, "little") + array.array("I", document).tobytes())
    return ids.hexdigest()


class Peer:
    """What the commands do."""

    def __init__(self, name: str, tokenizer: str) -> None:
        self.name, self.tokenizer = name, tokenizer
        self.texts: list[str] = []
        self.inputs: dict[str, Any] = {}
        self.faces = PEERS[name](tokenizer)

    def version(self) -> str:
        return version(self.name)

    def read(self, path: str) -> int:
        """Take the documents of a file, a JSON list."""
        self.texts = json.loads(Path(path).read_text())
        self.inputs = {}
        if self.name == "gigatoken":
            import awkward

            self.inputs["array"] = awkward.Array(self.texts)
        return len(self.texts)

    def ids(self) -> str:
        return digest(self.faces["lists"](self.texts))

    def time(self, face: str, again: int) -> float:
        """CPU seconds of encoding all documents `again` times."""
        return self.timed(self.faces[face], face, again)

    def cold(self, face: str) -> float:
        """CPU seconds of encoding all documents by an encoder that has encoded nothing before."""
        return self.timed(PEERS[self.name](self.tokenizer)[face], face, 1)

    def timed(self, encode: Callable[[Any], Any], face: str, again: int) -> float:
        texts = self.inputs.get(face, self.texts)
        began = time.process_time()
        for _ in range(again):
            encode(texts)
        return time.process_time() - began


if __name__ == "__main__":
    peer = Peer(*sys.argv[1:])
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        print(json.dumps(getattr(peer, command)(*arguments)), flush=True)
