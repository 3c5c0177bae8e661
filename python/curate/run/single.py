"""A part or all task: one call of the phase's `run`, and the files of what it gives.

`run` gives a mapping or a stream of (channel, value). A value that is a table goes into the channel's file: Parquet or
Arrow where the channel has a path, else a shuffle file in scratch. Bytes become a product as they are. The key "notes"
is no channel: its lines become warnings of the run.
"""

from collections.abc import Mapping

from curate.errors import TaskError
from curate.io.store import Store, write_bytes
from curate.io.write import ShuffleFile, TableFile
from curate.run.call import Call, Work, product_path
from curate.run.manifest import Output, Receipt
from curate.run.reads import MappedFiles
from curate.stages.protocol import Channel, Phase


class SingleTask:
    """One task of a part or all pass, which has exactly one op. `run` may be called once."""

    def __init__(self, call: Call, work: Work, phase: Phase, stores: Mapping[str, Store]) -> None:
        self.call, self.work, self.phase, self.stores = call, work, phase, stores
        (self.op,) = work.ops
        self.channels = {channel.name: channel for channel in phase.emits}
        self.writers: dict[str, TableFile | ShuffleFile] = {}

    def run(self, config: object) -> Receipt:
        """Call the phase and commit what it gives; returns the receipt, which the caller writes.

        A stream is written as it comes, so that only one of its tables is held at a time. Where anything fails, tables
        in the making are given up. A product of bytes that was committed before stays without a receipt; the task's
        next try replaces it.
        """
        call, work = self.call, self.work
        # Of an all task, `rows` gives every row: it has no partition.
        partition = call.partition if work.shape == "part" else None
        reads = MappedFiles(self.op, self.stores, partition=partition, partitions=work.partitions,
                            memory=call.memory, allowed=work.allow_code)  # fmt: skip
        receipt = Receipt(call.task, call.fingerprint)
        assert self.phase.run is not None
        try:
            made = self.phase.run(config, reads)
            for name, value in made.items() if isinstance(made, Mapping) else made:
                if name == "notes":
                    receipt.notes += value.decode().splitlines()
                elif isinstance(value, bytes):
                    receipt.outputs.append(self._bytes(name, value))
                else:
                    writer = self._writer(name)
                    for batch in value.to_batches():
                        writer.write(batch)
            for name, writer in self.writers.items():
                if file := writer.close():
                    receipt.outputs.append(Output(self.op.name, name, "main", "", isinstance(writer, TableFile), file))
        except BaseException:
            for writer in self.writers.values():
                writer.abort()
            raise
        return receipt

    def _channel(self, name: str) -> Channel:
        """The channel of that name; TaskError where the phase does not declare it."""
        if name not in self.channels:
            raise TaskError(f"{self.op.name} gives a channel that it does not declare: {name}")
        return self.channels[name]

    def _bytes(self, name: str, data: bytes) -> Output:
        """Commit bytes as the product of a channel; TaskError where the channel has no path."""
        path = self._path(self._channel(name))
        if path is None:
            raise TaskError(f"{self.op.name}: bytes need a channel with a path, and {name} has none")
        return Output(self.op.name, name, "main", "", True, write_bytes(self.stores["products"], path, data))

    def _path(self, channel: Channel) -> str | None:
        """The name of a channel's product below the run's folder; None where it has no path."""
        if channel.path is None:
            return None
        return product_path(channel.path, self.op.step).format(task=self.call.task, source="")

    def _writer(self, name: str) -> TableFile | ShuffleFile:
        """The file of a channel in the making, opened with its first table."""
        if name not in self.writers:
            channel = self._channel(name)
            path = self._path(channel)
            rel = f"passes/{self.work.pass_name}/{self.call.task}.{self.op.name}.{name}.arrow"
            self.writers[name] = (
                TableFile(self.stores["products"], path)
                if path
                else ShuffleFile(self.stores["scratch"], rel, self.work.partitions, channel.by, channel.combine)
            )
        return self.writers[name]
