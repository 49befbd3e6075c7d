"""What the demo shows while it runs: a live table on a terminal, lines elsewhere."""

import threading
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import click

from devit_iot.cli.cells import parts_bar, percent
from devit_iot.demo.demo import Answer
from devit_iot.errors import DevitError

if TYPE_CHECKING:
    from rich.table import Table

_ROWS = 12


class Display(Protocol):
    """Where answers and events go, from any thread."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the screen tidy."""

    def answer(self, answer: Answer) -> None:
        """Show one more label."""

    def event(self, text: str) -> None:
        """Show that something started or died."""


class SilentDisplay:
    """Shows nothing: for ``--json``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def answer(self, answer: Answer) -> None:
        """See :meth:`Display.answer`."""

    def event(self, text: str) -> None:
        """See :meth:`Display.event`."""


class PlainDisplay(SilentDisplay):
    """One line per answer: for logs and pipes."""

    def answer(self, answer: Answer) -> None:
        """See :meth:`Display.answer`."""
        click.echo("  ".join(_cells(answer)))

    def event(self, text: str) -> None:
        """See :meth:`Display.event`."""
        click.echo(f"* {text}")


class LiveDisplay:
    """A table of the last answers that rich redraws in place."""

    def __init__(self) -> None:
        try:
            from rich.live import Live
        except ImportError as error:
            raise DevitError(
                "the demo's table needs rich: pip install 'devit-iot[demo]'"
            ) from error
        self._answers: deque[Answer] = deque(maxlen=_ROWS)
        self._lock = threading.Lock()
        self._seen = self._right = 0
        self._event = ""
        self._live = Live(get_renderable=self._table, refresh_per_second=10)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.refresh()
        self._live.__exit__(kind, error, trace)

    def answer(self, answer: Answer) -> None:
        """See :meth:`Display.answer`."""
        with self._lock:
            self._answers.append(answer)
            self._seen += 1
            self._right += answer.label is not None and answer.label.label == answer.truth

    def event(self, text: str) -> None:
        """See :meth:`Display.event`."""
        with self._lock:
            self._event = text

    def _table(self) -> "Table":
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            accuracy = f"accuracy {self._right / self._seen:.1%}" if self._seen else ""
            table = Table(title=f"{self._seen} images  {accuracy}", caption=Text(self._event))
            for heading in ("image", "truth", "label", "confidence", "parts", "latency"):
                table.add_column(heading, justify="right")
            for answer in self._answers:
                label = answer.label
                right = label is not None and label.label == answer.truth
                degraded = label is not None and label.degraded
                style = "red" if not right else "yellow" if degraded else ""
                table.add_row(*map(Text, _cells(answer)), style=style)
        return table


def _cells(answer: Answer) -> list[str]:
    label = answer.label
    if label is None:
        return [f"{answer.number:5d}", answer.truth, "-", "-", "-", "-"]
    parts = parts_bar(label.parts_used, label.parts)
    return [
        f"{answer.number:5d}",
        answer.truth,
        label.label,
        f"{percent(label.confidence):>6}",
        parts + (" degraded" if label.degraded else ""),
        f"{answer.latency_ms:7.1f} ms",
    ]
