"""`python -m benchmarks`: every benchmark of this folder, one after the other."""

import subprocess
import sys
from pathlib import Path

HARNESS = {
    "__init__",
    "__main__",
    "harness",
    "structure_pages",
    "texts",
    "variations",
    "peers",
    "encoding_peers",
    "encodings",
    "environments",
    "datatrove_chain",
    "datatrove_filters",
    "datatrove_minhash",
    "kneser_ney",
    "pii_peers",
    "trainer_systems",
    "trainer_gpu",
    "ablation",  # half an hour and more: run it by its name
}

if __name__ == "__main__":
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in HARNESS)
    # A process each: what one leaves in memory must not count as the next one's.
    codes = [subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]]).returncode for name in names]
    raise SystemExit(max(codes, default=0))
