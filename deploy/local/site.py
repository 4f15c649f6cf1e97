"""Where one stack lives: its folders, ports and variables; every server is built from it."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.environment import inherited
from deploy.local.errors import HalfWrittenStateError
from deploy.local.ports import PortBlock

ROOT = Path(__file__).parent.parent.parent
"""The repository: the working directory of every server."""
DEFINITIONS = "orchestration.definitions"


@dataclass(frozen=True, slots=True)
class Site:
    """The facts that the servers of one stack share."""

    state_dir: Path
    jars_dir: Path
    ports: PortBlock
    variables: Mapping[str, str]
    """The content of ``lakemill.env``, secrets included."""
    java: Path
    definitions: str = DEFINITIONS
    """The module that the code location serves."""

    def folder(self, name: str) -> Path:
        """Return the state folder of a server."""
        return self.state_dir / name

    def tool_env(self) -> dict[str, str]:
        """Return the environment of a short-lived tool (initdb, psql …), marked so that a stop finds it."""
        return inherited({"LAKEMILL_STACK": str(self.state_dir)})

    def python(self, *arguments: str) -> tuple[str, ...]:
        """Return a command of the Python that runs us."""
        return (sys.executable, *arguments)


@dataclass(frozen=True, slots=True)
class CompleteFolder:
    """A state folder that is made in several steps and carries a marker once the last one is done."""

    name: str
    path: Path

    @property
    def marker(self) -> Path:
        """Return the file whose presence says that the folder is whole."""
        return self.path / "complete"

    def check(self) -> None:
        """Raise HalfWrittenStateError when the folder was begun and never completed."""
        if self.path.exists() and not self.marker.exists():
            raise HalfWrittenStateError(self.name, self.path)

    def discard_unfinished(self) -> None:
        """Remove the folder when it was not completed; for the very start that began it."""
        if self.path.exists() and not self.marker.exists():
            shutil.rmtree(self.path)

    def complete(self) -> None:
        """Note that everything in the folder is in place."""
        self.marker.touch()
