"""What every command shares: one-line errors and logging."""

import functools
import logging
import signal
import threading
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

import click
import msgspec

from devit_iot.errors import DevitError
from devit_iot.protocol.text import shown

P = ParamSpec("P")
R = TypeVar("R")


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Show a DevitError as ``Error: ...`` with exit code 1; let a bug keep its traceback."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except DevitError as error:
            raise click.ClickException(shown(" ".join(str(error).split()))) from error

    return wrapper


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": shown(record.getMessage()),
        }
        if record.exc_info:
            line["traceback"] = _traceback(self, record)
        return msgspec.json.encode(line).decode()


class _PersonFormatter(logging.Formatter):
    """One line a record: a log must not be writable from the wire."""

    def format(self, record: logging.LogRecord) -> str:
        text = shown(record.getMessage())
        head = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname.lower():7} {text}"
        return f"{head}\n{_traceback(self, record)}" if record.exc_info else head


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """An exception's text may quote the wire too."""
    lines = formatter.formatException(record.exc_info).splitlines() if record.exc_info else []
    return "\n".join(shown(line) for line in lines)


def set_up_logging(log_format: str, level: str) -> None:
    """Log one line per event to standard error, ``human`` or ``json``."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _PersonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


R_co = TypeVar("R_co", covariant=True)


class Service(Protocol[R_co]):
    """What :func:`serve` runs."""

    def run(self) -> R_co:
        """Serve until :meth:`stop`."""

    def stop(self) -> None:
        """Make :meth:`run` return soon."""


def serve(service: Service[R]) -> R:
    """Run ``service`` until it ends, or until SIGTERM or SIGINT stops it cleanly."""

    def on_signal(_number: int, _frame: object) -> None:
        # A handler interrupts the main thread anywhere, perhaps inside a lock that stop() takes.
        threading.Thread(target=service.stop, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return service.run()
