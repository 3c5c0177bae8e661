"""What can go wrong, as one small tree; every message says what happened, the value, where, and what to do.

Exit codes of the command line: 0 done (warnings included), 1 some tasks failed or the disk is full (the same
command continues), 2 usage, recipe, configuration or input that cannot be understood, 3 a guard stopped the
run, 130 interrupted by Ctrl-C (the same command continues).
"""


class CurateError(Exception):
    """A failure that the user can act on: shown as one message, never as a stack trace."""

    exit_code = 1


class FatalError(CurateError):
    """Nothing can go on: the disk is full, or memory does not suffice. The run stops at once."""


class ConfigError(CurateError):
    """A command line, recipe or configuration that is wrong as written."""

    exit_code = 2


class SchemaError(CurateError):
    """Columns that are missing or of another type than the step needs."""

    exit_code = 2


class DataError(CurateError):
    """An input that cannot be read at all; what is readable beside it is kept."""


class TaskError(CurateError):
    """A task that failed: names the pass, the task and its input, and carries the cause's message."""


class ResumeError(CurateError):
    """A folder that holds a run of another recipe or of other inputs."""

    exit_code = 2


class LockError(CurateError):
    """Another process owns the folder."""

    exit_code = 2


class DamageError(CurateError):
    """A committed file is not what its receipt says; it is made again. `path` is relative to the run's folder."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path, self.what = path, what

    def __reduce__(self) -> tuple[type["DamageError"], tuple[str, str]]:
        return DamageError, (self.path, self.what)


class GuardError(CurateError):
    """A yield guard stopped the run because a step dropped more or less than its expected band."""

    exit_code = 3
