"""redact: personal data in texts is replaced by typed placeholders; no reject of the run holds what it was.

E-mail addresses and public IP addresses are replaced (v4 and v6; private, loopback and reserved ones stay). Every
replacement is a row of the rejects with the action `cut` and its span, and counts in n_redactions.

The documents of earlier passes, which a run keeps to continue from, hold the text as it was: `keep: none` removes them
when the run has ended. Other columns of documents (url, title, extra and your own) are left as they are.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels
from curate.config import Settings, setting
from curate.stages.protocol import Applied, Phase, Stage, with_column


class Redact(Settings):
    """The placeholder of each kind of personal data; a kind without one is left alone."""

    email: str | None = setting("<EMAIL>", "what stands for an e-mail address; null leaves them")
    ip: str | None = setting("<IP_ADDRESS>", "what stands for a public IP address; null leaves them")


def apply(batch: pa.RecordBatch, config: Redact) -> Applied:
    """Replaces the spans; n_redactions grows by their number, and each is a mark in bytes of the text before."""
    text, row, start, end, kind = kernels.redact(batch.column("text"), email=config.email, ip=config.ip)
    counts = np.bincount(row.to_numpy(), minlength=batch.num_rows)
    # A recipe may redact twice, and the input may have been redacted: counts add up.
    before = pc.fill_null(batch.column("n_redactions"), 0).to_numpy()
    total = (before + counts).astype(np.uint32)
    batch = with_column(with_column(batch, "text", text), "n_redactions", pa.array(total))
    n = len(row)
    marks = pa.RecordBatch.from_pydict(
        {
            "row": row.cast(pa.int64()),
            "action": pa.array(["cut"] * n, pa.string()),
            "rule": pc.binary_join_element_wise("redact", kind.cast(pa.string()), "."),
            "value": pa.nulls(n, pa.float64()),
            "limit": pa.nulls(n, pa.float64()),
            "detail": pa.nulls(n, pa.string()),
            "span_start": start.cast(pa.int64()),
            "span_end": end.cast(pa.int64()),
        }
    )
    return Applied(batch, marks=marks)


STAGE = Stage(
    name="redact",
    version=2,
    summary="Replace e-mail and public IP addresses.",
    config=Redact,
    private=True,
    hides=lambda config: {"email": config.email, "ip": config.ip},
    rules=lambda config: {"redact.email": "span", "redact.ip": "span"},
    phases=(Phase("apply", "each", apply=apply),),
)
