"""Progress of a training: a bar with the time left on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import rich.progress
from rich.console import Console

from devit_iot.decompose.run import Progress

LINES = 20
"""Plain lines of a whole training, about."""


@contextmanager
def show_progress(work: int, console: Console) -> Iterator[Progress]:
    """Give a callback for :func:`devit_iot.decompose.run.decompose`.

    Args:
        work: the training's whole cost, in part-epochs.
        console: where to write.
    """
    if not console.is_terminal:
        yield _lines(work, console)
        return
    columns = (
        rich.progress.TextColumn("{task.description:<24}"),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console) as bar:
        task = bar.add_task("reading images", total=work)

        def advance(name: str, cost: int, loss: float) -> None:
            bar.update(task, advance=cost, description=f"{name}, loss {loss:.3f}")

        yield advance


def _lines(work: int, console: Console) -> Progress:
    started = time.monotonic()
    done = 0

    def advance(name: str, cost: int, loss: float) -> None:
        nonlocal done
        before, done = done, done + cost
        if done == work or done * LINES // work > before * LINES // work:
            elapsed = time.monotonic() - started
            left = elapsed * (work - done) / done
            console.print(
                f"{100 * done // work:3d} %  {name}  loss {loss:.3f}  "
                f"{elapsed:.0f} s elapsed, about {left:.0f} s left",
                highlight=False,
            )

    return advance
