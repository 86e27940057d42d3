"""How far a long job is: a bar with rate and time left, on stderr, and only where somebody watches."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text


class Progress(Protocol):
    """What a job tells while it runs: one phase after another, each of so many steps."""

    def begin(self, phase: str, total: int) -> None:
        """Start the next phase."""
        ...

    def advance(self, steps: int = 1) -> None:
        """Say that so many more steps of the phase are done."""
        ...

    def reach(self, done: int, total: int) -> None:
        """Say how many steps of the phase are done, and how many it has after all."""
        ...


class NoProgress:
    """Tells nobody."""

    def begin(self, phase: str, total: int) -> None:
        pass

    def advance(self, steps: int = 1) -> None:
        pass

    def reach(self, done: int, total: int) -> None:
        pass


class ProgressBars:
    """One line a phase, drawn by rich."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._phase: TaskID | None = None

    def begin(self, phase: str, total: int) -> None:
        self._phase = self._bars.add_task(phase, total=total)

    def advance(self, steps: int = 1) -> None:
        assert self._phase is not None
        self._bars.advance(self._phase, steps)

    def reach(self, done: int, total: int) -> None:
        assert self._phase is not None
        self._bars.update(self._phase, completed=done, total=total)


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Show bars on stderr while the block runs; none when stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield NoProgress()
        return
    with RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bars:
        yield ProgressBars(bars)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")
