"""A part or all task: one call of the phase's `run`, and the files of what it gives."""

from collections.abc import Mapping

from curate.errors import TaskError
from curate.io.store import Store, write_bytes
from curate.io.write import ShuffleFile, TableFile
from curate.run.call import Call, Work
from curate.run.manifest import Output, Receipt
from curate.run.reads import MappedFiles
from curate.stages.protocol import Channel, Phase


class SingleTask:
    def __init__(self, call: Call, work: Work, phase: Phase, stores: Mapping[str, Store]) -> None:
        self.call, self.work, self.phase, self.stores = call, work, phase, stores
        (self.op,) = work.ops
        self.channels = {channel.name: channel for channel in phase.emits}
        self.writers: dict[str, TableFile | ShuffleFile] = {}

    def run(self, config: object) -> Receipt:
        call, work = self.call, self.work
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
        if name not in self.channels:
            raise TaskError(f"{self.op.name} gives a channel that it does not declare: {name}")
        return self.channels[name]

    def _bytes(self, name: str, data: bytes) -> Output:
        path = self._path(self._channel(name))
        if path is None:
            raise TaskError(f"{self.op.name}: bytes need a channel with a path, and {name} has none")
        return Output(self.op.name, name, "main", "", True, write_bytes(self.stores["products"], path, data))

    def _path(self, channel: Channel) -> str | None:
        return channel.path.format(task=self.call.task, step=self.op.step, source="") if channel.path else None

    def _writer(self, name: str) -> TableFile | ShuffleFile:
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
