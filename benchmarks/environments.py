"""Environments for peers that cannot be installed beside this project's pins: one each, below target/peers.

text-dedup wants rich < 14 and urllib3 <= 2.0; datatrove pins another trafilatura, and its words want spaCy; datasets
pins another pyarrow. They are made once, by uv, with the versions named here.
"""

import subprocess
import sys
from pathlib import Path

PEERS = {
    "datatrove": ["datatrove[io,processing]==0.10.1", "spacy==3.8.18", "xxhash==3.8.2", "regex", "tokenizers"],
    "gigatoken": ["gigatoken==0.10.0"],
    "readers": ["datasets==5.2.0", "duckdb==2.0.1", "polars==2.1.0", "webdataset==1.0.2"],
    "text-dedup": ["text-dedup==0.4.0"],
    "tokenizers": ["tokenizers==1.0.0rc3"],
}
OVERLAYS = {
    "lm-eval": [
        "lm-eval==0.4.13", "absl-py==2.5.1", "chardet==5.2.0", "colorama==0.4.6", "dataproperty==1.1.1",
        "datasets==5.2.0", "defusedxml==0.7.1", "dill==0.4.1", "evaluate==0.4.6", "mbstrdecoder==1.1.5",
        "more-itertools==11.2.1", "multiprocess==0.70.19", "nltk==3.10.4", "pandas==3.1.1", "pathvalidate==3.3.1",
        "portalocker==4.4.2", "pytablewriter==1.2.1", "rouge-score==0.1.2", "sacrebleu==2.6.0", "sqlitedict==2.1.0",
        "tabledata==1.3.5", "tabulate==0.10.0", "tcolorpy==0.1.7", "typepy==1.3.5", "word2number==1.1", "xxhash==4.1.0",
    ],
}  # fmt: skip
HOME = Path(__file__).resolve().parents[1] / "target" / "peers"


def python(peer: str) -> Path:
    """The interpreter of a peer's environment, which is made where it is not there."""
    home = HOME / peer
    interpreter = home / "bin" / "python"
    if not (home / "ready").exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "-q", "--clear", "--python", sys.executable, str(home)], check=True)
        subprocess.run([*uv, "pip", "install", "-q", "--python", str(interpreter), *PEERS[peer]], check=True)
        (home / "ready").touch()
    return interpreter


def overlay(peer: str) -> Path:
    """A folder for PYTHONPATH with a peer and what it needs beyond this project's packages, made where it is not."""
    home = HOME / peer
    if not (home / "ready").exists():
        install = [sys.executable, "-m", "uv", "pip", "install", "-q", "--no-deps", "--target", str(home)]
        subprocess.run([*install, *OVERLAYS[peer]], check=True)
        (home / "ready").touch()
    return home
