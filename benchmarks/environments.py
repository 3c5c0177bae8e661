"""Environments for peers that cannot be installed beside this project's pins: one each, below target/peers.

text-dedup wants rich < 14 and urllib3 <= 2.0; datatrove pins another trafilatura, and its words want spaCy; datasets
pins another pyarrow, gliner another transformers. They are made once, by uv, with the versions named here.
"""

import subprocess
import sys
from pathlib import Path

PEERS = {
    "datatrove": ["datatrove[io,processing]==0.10.1", "spacy==3.8.18", "xxhash==3.8.2", "regex", "tokenizers"],
    "gliner": ["gliner==0.2.29", "torch==2.15.0"],
    "readers": ["datasets==5.2.0", "duckdb==2.0.1", "polars==2.1.0", "webdataset==1.0.2"],
    "text-dedup": ["text-dedup==0.4.0"],
}
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
