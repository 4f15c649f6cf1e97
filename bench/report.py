"""How every bench reports: a table for people, one JSON file for machines.

python -m bench.submit [JSON_FILE]
"""

import json
import os
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

SHORT = "--short"
"""Try the bench itself, in seconds: its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value, with its unit and, when one was promised, its target: the most, or else the least."""

    value: float
    unit: str
    target: float | None = None
    is_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without a target."""
        if self.target is None:
            return None
        return self.value >= self.target if self.is_least else self.value <= self.target


@dataclass
class Report:
    """The outcome of one bench."""

    name: str
    method: str
    figures: dict[str, Figure] = field(default_factory=dict)

    def add(self, name: str, value: float, unit: str, target: float | None = None) -> None:
        """Record one figure, rounded to what its measurement can carry."""
        self.figures[name] = Figure(round(value, 3), unit, target)

    def add_least(self, name: str, value: float, unit: str, target: float) -> None:
        """Record one figure that should be at least ``target``."""
        self.figures[name] = Figure(round(value, 3), unit, target, is_least=True)

    def publish(self, arguments: list[str]) -> int:
        """Print the table, write the JSON file when one is named; return 1 when a target is missed, else 0."""
        files = [argument for argument in arguments if argument != SHORT]
        console = Console()
        table = Table(title=f"{self.name} on {machine()}", caption=self.method)
        for column in ("figure", "value", "unit", "target", "met"):
            table.add_column(column, justify="right" if column == "value" else "left")
        for name, figure in self.figures.items():
            target = "" if figure.target is None else f"{'≥' if figure.is_least else '≤'} {figure.target:g}"
            met = {None: "", True: "yes", False: "NO"}[figure.met]
            table.add_row(name, f"{figure.value:g}", figure.unit, target, met)
        console.print(table)
        missed = [name for name, figure in self.figures.items() if figure.met is False]
        if missed:
            console.print(f"Targets not reached: {', '.join(missed)}")
        if files:
            Path(files[0]).write_text(json.dumps(self._document(), indent=1) + "\n")
        return 1 if missed else 0

    def _document(self) -> dict[str, Any]:
        return {
            "machine": machine(),
            "command": f"make bench NAME={self.name}",
            "method": self.method,
            "figures": {
                name: {"value": figure.value, "unit": figure.unit, "target": figure.target, "met": figure.met}
                for name, figure in self.figures.items()
            },
        }


def machine() -> str:
    """Name the class of machine: cores, memory, system. Figures are only comparable within one class."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = ".".join(map(str, sys.version_info[:2]))
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, Python {python}"


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of ``values`` lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
