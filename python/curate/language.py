"""The language model: py3langid's, made ready once and then read from the user's cache.

The installed package holds 65 MB of arrays in 4.6 MB of LZMA, which takes half a second to unpack. What the kernel
needs of them, 30 MB that are read in 30 ms, is kept in $XDG_CACHE_HOME/curate (~/.cache/curate), under a name that
follows from the bytes of the package's file. A cached file that is damaged is made anew; where none can be written,
every process makes its own.
"""

import contextlib
import hashlib
import importlib.util
import lzma
import os
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa

from curate import kernels
from curate.errors import ConfigError, CurateError
from curate.io.store import LocalStore, write_bytes

MODEL_BYTES = 40_000_000  # private memory of the opened model in a process, measured


@cache
def load() -> kernels.Languages:
    """The model, opened once in a process. ConfigError where py3langid is not installed."""
    spec = importlib.util.find_spec("py3langid")
    if spec is None or not spec.origin:
        raise ConfigError("languages are identified by the model of py3langid, which is not installed")
    packed = (Path(spec.origin).parent / "data" / "model.npz.xz").read_bytes()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curate"
    cached = folder / f"languages-{hashlib.sha256(packed).hexdigest()[:16]}.bin"
    with contextlib.suppress(OSError, ValueError):
        return kernels.Languages(cached.read_bytes())
    ready = _prepare(packed)
    with contextlib.suppress(OSError, CurateError):
        write_bytes(LocalStore(folder), cached.name, ready)
    return kernels.Languages(ready)


def _prepare(packed: bytes) -> bytes:
    """The kernel's form of the package's file. ValueError where the arrays are not those of py3langid 0.4."""
    with np.load(BytesIO(lzma.decompress(packed)), allow_pickle=False) as arrays:
        missing = {"ptc", "pc", "classes", "nextmove", "nextmove_row", "out_feat"} - set(arrays.files)
        if missing:
            raise ValueError(f"the model of py3langid has no {' and no '.join(sorted(missing))}: install py3langid 0.4")
        return kernels.prepare_languages(
            arrays["classes"].tolist(),
            pa.array(arrays["pc"], pa.float32()),
            pa.array(arrays["ptc"].astype(np.float16).view(np.uint16).ravel()),
            pa.array(arrays["nextmove"].astype(np.uint32)),
            pa.array(arrays["nextmove_row"].astype(np.uint32)),
            pa.array(arrays["out_feat"].astype(np.int32)),
        )
