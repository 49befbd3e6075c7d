"""Progress of a run: a bar per stage with its time left on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import rich.progress
from rich.console import Console

LINES = 20
"""Plain lines of a whole stage, about."""
MIN_SECONDS = 2.0
"""Between two plain lines of one stage."""


class Progress(Protocol):
    """Told about every step of a run."""

    def __call__(
        self, stage: str, done: int, of: int, losses: Mapping[str, float] | None = None
    ) -> None:
        """Say how far a stage is.

        Args:
            stage: the stage's name.
            done: steps done.
            of: steps in all.
            losses: means over the epoch so far.
        """


@contextmanager
def show_progress(console: Console) -> Iterator[Progress]:
    """Give a callback that shows progress on ``console``."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        rich.progress.TextColumn("{task.description:<18}"),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("{task.fields[losses]}"),
    )
    with rich.progress.Progress(*columns, console=console) as bars:
        tasks: dict[str, rich.progress.TaskID] = {}

        def show(stage: str, done: int, of: int, losses: Mapping[str, float] | None = None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=of, losses="")
            bars.update(tasks[stage], completed=done, losses=_text(losses))

        yield show


class _Lines:
    """A line at most every :data:`MIN_SECONDS`, and one when a stage ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage = ""
        self._started = self._last = (0, 0.0)

    def __call__(
        self, stage: str, done: int, of: int, losses: Mapping[str, float] | None = None
    ) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._started, self._last = stage, (done, now), (done, now)
        crossed = done * LINES // of > self._last[0] * LINES // of
        if done < of and not (crossed and now - self._last[1] >= MIN_SECONDS):
            return
        self._last = (done, now)
        elapsed = now - self._started[1]
        left = elapsed * (of - done) / max(1, done - self._started[0])
        self._console.print(
            f"{stage}  {100 * done // of:3d} %  {_text(losses)}  {elapsed:.0f} s elapsed, "
            f"about {left:.0f} s left",
            highlight=False,
            soft_wrap=True,
        )


def _text(losses: Mapping[str, float] | None) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in (losses or {}).items())
