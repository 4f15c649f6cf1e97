"""What an action promises of its output: each check knows its columns and its spelling; ``audit.py`` measures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotNull:
    """No row has a null in these columns. Answered from the Parquet footers."""

    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"not_null({', '.join(self.columns)})"


@dataclass(frozen=True, slots=True)
class Unique:
    """No two rows agree in all these columns. Costs one read of just these columns."""

    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"unique({', '.join(self.columns)})"


@dataclass(frozen=True, slots=True)
class AtLeast:
    """There are at least this many rows. Answered from the Parquet footers."""

    rows: int
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"at_least(rows={self.rows})"


Check = NotNull | Unique | AtLeast


def not_null(*columns: str) -> Check:
    """Promise that no row has a null in any of these columns."""
    return NotNull(columns)


def unique(*columns: str) -> Check:
    """Promise that no two rows agree in all of these columns."""
    return Unique(columns)


def at_least(*, rows: int) -> Check:
    """Promise at least this many rows."""
    return AtLeast(rows)
