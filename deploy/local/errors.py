"""What can go wrong with the embedded stack; each message says what the user should do.

LakemillError
└── StackError
    ├── AlreadyRunningError     a stack runs from this state folder, or another command works on it
    ├── PortTakenError          something else listens where a server should
    ├── HalfWrittenStateError   a state folder was not made to its end
    ├── ServerFailedError       a server died or did not get ready; carries the last lines of its log
    ├── UnknownServerError      no server of that name
    └── ToolMissingError        a program of the operating system is missing
"""

from pathlib import Path

from contracts.problems import LakemillError


class StackError(LakemillError):
    """The embedded stack cannot do what was asked."""


class AlreadyRunningError(StackError):
    """A second start, or two commands at once."""


class PortTakenError(StackError):
    """A port of the block is in use."""


class HalfWrittenStateError(StackError):
    """A state folder has no completion marker."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(
            f"The state of {name} in {folder} was never completed (an earlier start was cut off there). "
            "It holds nothing that a finished process needs: remove it with 'lakemill down --purge', then start again."
        )


class ServerFailedError(StackError):
    """A server or step failed; ``log_tail`` holds the last lines it wrote."""

    def __init__(self, name: str, reason: str, log: Path, log_tail: str) -> None:
        super().__init__(f"{name} {reason}. The last lines of {log}:\n{log_tail}")
        self.name = name
        self.log_tail = log_tail


class UnknownServerError(StackError):
    """There is no server of that name."""


class ToolMissingError(StackError):
    """A program that the operating system should offer is not there."""
