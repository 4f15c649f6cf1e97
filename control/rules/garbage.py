"""What may be removed from the lake: token folders that no commit names, and that none can ever name."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from contracts.identity import Coordinate
from contracts.reports import MAX_RUN_SECONDS
from contracts.states import State
from control.rules.commit_time import commit_wait, delivery_grace
from control.schema import Row
from resources.settings import ControlSettings


class Kept(StrEnum):
    """Why a folder stays."""

    YOUNG = "young"
    """Something in it is younger than a run can be with all that may follow it."""
    COMMITTED = "committed"
    """It is the snapshot."""
    UNREADABLE = "unreadable"
    """A commit lies there that nobody can read: it could name this folder."""
    LIVE = "live"
    """Its process has not ended, or a permit of it has not."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A token folder as it was listed, and what the lake and the database say of it afterwards."""

    coordinate: Coordinate
    token: str
    newest_at: datetime
    """When its youngest object was stored, by the store's clock."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What is committed at the folder's coordinate; ``token`` is None when it cannot be read."""

    token: str | None


def is_young(folder: Folder, now: datetime, settings: ControlSettings) -> bool:
    """Whether a run that wrote to the folder may still be alive, or its commit on its way."""
    return now - folder.newest_at <= timedelta(seconds=MAX_RUN_SECONDS) + commit_wait(settings)


def why_kept(
    folder: Folder, committed: Committed | None, process: Row | None, now: datetime, settings: ControlSettings
) -> Kept | None:
    """Return why the folder stays, or None when it is garbage.

    ``process``: the row of the process that the token names, None for an operator's run and for a process that the
    database no longer knows. It and the commit were looked up after the folder was listed.
    """
    if is_young(folder, now, settings):
        return Kept.YOUNG
    if committed is not None and committed.token is None:
        return Kept.UNREADABLE
    if committed is not None and committed.token == folder.token:
        return Kept.COMMITTED
    if process is not None and _may_commit(process, now, settings):
        return Kept.LIVE
    return None


def _may_commit(process: Row, now: datetime, settings: ControlSettings) -> bool:
    if not State(process["state"]).is_terminal:
        return True
    return process["permit_until"] is not None and now <= process["permit_until"] + delivery_grace(settings)
