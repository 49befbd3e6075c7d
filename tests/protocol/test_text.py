"""Nothing that comes from the wire writes to a log or a terminal as it likes."""

import logging
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devit_iot.cli.common import set_up_logging
from devit_iot.protocol.text import MAX_CAMERA_BYTES, is_camera, is_plain, shown

HOSTILE = {
    "line": "door\nERROR all is lost",
    "return": "door\rERROR all is lost",
    "screen": "\x1b[2J\x1b[1;31mdoor",
    "c1": "\x9b31mdoor",
    "right to left": "\u202eroods",
    "separator": "door\u2028ERROR",
    "zero width": "do\u200bor",
    "bell": "\x07",
    "surrogate": "\ud800",
    "nul": "\0",
    "long": "x" * 100_000,
}


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_not_plain(text: str) -> None:
    assert not is_plain(text)
    assert not is_camera(text)


@given(st.text(max_size=100))
def test_what_is_shown_is_printable_and_readable(text: str) -> None:
    assert shown(text).isprintable()
    assert (shown(text) == text) == text.isprintable()


def test_foreign_letters_stay_as_they_are() -> None:
    assert shown("Küche 門 \x1b") == "Küche 門 \\x1b"


def test_what_is_shown_is_bounded() -> None:
    assert shown("x" * 2000) == "x" * 2000
    assert shown("x" * 2001) == "x" * 2000 + "... (2001 characters)"
    assert len(shown("\x00" * 10**6)) < 10_000


def test_the_limits_of_a_camera() -> None:
    assert is_camera("x" * 64)
    assert not is_camera("x" * 65)
    assert not is_camera("")
    assert is_camera("é" * 64)
    assert not is_camera("\N{CAMERA}" * (MAX_CAMERA_BYTES // 4 + 1))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_log_line_stays_one_line(capsys: pytest.CaptureFixture[str], text: str) -> None:
    set_up_logging("human", "info")
    logging.getLogger("test").warning("refused a message on %s", text)
    output = capsys.readouterr().err
    assert output.count("\n") == 1
    assert output.rstrip("\n").isprintable()
    assert len(output) < 3000


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_json_log_line_is_safe_once_it_is_parsed(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    set_up_logging("json", "info")
    logging.getLogger("test").warning("refused a message on %s", text)
    output = capsys.readouterr().err
    assert output.count("\n") == 1
    message = msgspec.json.decode(output, type=dict[str, str])["message"]
    assert message.isprintable()
    assert len(message) < 3000


def fail(text: str) -> None:
    raise ValueError(text)


@pytest.mark.parametrize("form", ["human", "json"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_traceback_quotes_nothing_unseen(
    capsys: pytest.CaptureFixture[str], form: str, text: str
) -> None:
    set_up_logging(form, "info")
    try:
        fail(text)
    except ValueError:
        logging.getLogger("test").exception("a bug")
    output = capsys.readouterr().err
    if form == "json":
        output = msgspec.json.decode(output, type=dict[str, str])["traceback"]
    assert "ValueError" in output
    assert all(line.isprintable() for line in output.rstrip("\n").split("\n"))
    assert len(output) < 10_000
