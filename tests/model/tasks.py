"""Work that may be held up, or end for ever, at every point that it passes: a process that ``kill -9`` can meet.

The code that runs inside is the real one, and knows nothing of it: it only calls ports, and the ports call ``pause``.
"""

from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet


class Task:
    """One piece of work. Nothing happens before the first ``step``."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self.name = name
        self.at: str | None = None
        """The point where it waits, None before its first step."""
        self.is_dead = False
        self.doomed_at: str | None = None
        """A point inside a transaction where it will die: nobody else can act there, so it does not wait."""
        self._worker: Any = greenlet(work)
        self._worker.task = self

    def __repr__(self) -> str:
        return f"{self.name} at {self.at}"

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or was killed."""
        return self.is_dead or bool(self._worker.dead)

    def step(self) -> None:
        """Go on to the next point, or to the end. What the work raises is raised here."""
        assert not self.is_over
        self._worker.switch()

    def finish(self, until: str | None = None) -> None:
        """Go on to the point ``until``, or to the end."""
        while not self.is_over and (until is None or self.at != until):
            self.step()

    def kill(self) -> None:
        """Never go on. No handler of the work does anything any more."""
        if not self.is_over:
            self.is_dead = True
            if self._worker:  # begun: let its frames go, which every ``pause`` then makes quick
                self._worker.throw(GreenletExit)

    def wait(self, point: str) -> None:
        """Stand at ``point`` until somebody says ``step``; called by the work itself."""
        if not self.is_dead:
            self.at = point
            self._worker.parent.switch()
        if self.is_dead:
            raise GreenletExit


def pause(point: str) -> None:
    """Let whoever drives the current task decide whether it goes on. Outside of tasks nothing happens."""
    task = current_task()
    if task is not None:
        task.wait(point)


def doom(point: str) -> None:
    """Die here if that was decided. For points inside a transaction."""
    task = current_task()
    if task is not None and task.doomed_at == point:
        task.at = point
        task.is_dead = True
        raise GreenletExit


def current_task() -> Task | None:
    """Return the task that is running."""
    task: Task | None = getattr(getcurrent(), "task", None)
    return task
