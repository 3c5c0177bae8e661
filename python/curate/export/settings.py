"""Settings of an export: the form, what of the run is written, and how large a file becomes."""

from typing import Literal, get_args

from pydantic import model_validator

from curate.config import ByteSize, Settings, setting

Unit = Literal["bytes", "documents", "tokens"]
Limit = tuple[Unit, int]
"""What a file is measured in, and the amount with which it ends."""

Form = Literal["jsonl", "jsonl.gz", "jsonl.zst", "csv", "webdataset", "bin", "megatron"]
FORMS: tuple[str, ...] = get_args(Form)
TOKEN_FORMS = ("bin", "megatron")
FILE_BYTES = 512_000_000  # of a file, where no limit is given


class ExportSettings(Settings):
    """The form, what of the run is written, and how large a file becomes."""

    to: Form = setting(..., "form of the files")
    lane: Literal["main", "heldout"] = setting("main", "heldout: what the holdout stage set aside")
    columns: tuple[str, ...] = setting((), "columns of the documents to write; by default all")
    size: ByteSize | None = setting(
        None, "a file ends with the document that brings it to this size; by default 512MB", unit="bytes", ge=1
    )
    documents: int | None = setting(None, "documents a file, instead of a size", ge=1)
    tokens: int | None = setting(
        None, "a file ends with the document that brings it to this many tokens (bin and megatron)", ge=1
    )

    @model_validator(mode="after")
    def _agree(self) -> "ExportSettings":
        """ValueError where settings exclude each other."""
        if sum(value is not None for value in (self.size, self.documents, self.tokens)) > 1:
            raise ValueError("size, documents and tokens each say where a file ends: give one of them")
        if self.tokens is not None and not self.reads_tokens:
            raise ValueError(f"tokens: {self.to} holds text; give --size or --documents")
        if self.columns and self.reads_tokens:
            raise ValueError(f"columns: {self.to} holds token ids alone; leave --columns out")
        return self

    @property
    def reads_tokens(self) -> bool:
        """Whether the form holds token ids, not text."""
        return self.to in TOKEN_FORMS

    @property
    def limit(self) -> Limit:
        """What ends a file, and how much of it."""
        if self.documents is not None:
            return "documents", self.documents
        return ("tokens", self.tokens) if self.tokens is not None else ("bytes", self.size or FILE_BYTES)
