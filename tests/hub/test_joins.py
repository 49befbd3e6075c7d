"""Tokens: for one name, for one board, for some time."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from devit_iot.errors import ConfigError, DevitError
from devit_iot.hub.joins import JoinError, JoinRequest, Joins

TOKEN = "t0ken"  # noqa: S105
FILES = {"client.key": b"secret key", "devit.toml": b"fleet"}
HOUR_S = 3600.0


class Clock:
    """Shows what a test sets."""

    now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def joins(tmp_path: Path, clock: Clock) -> Joins:
    return Joins(tmp_path / "joins", clock)


def request(token: str = TOKEN, serial: str = "1", valid_s: float = HOUR_S) -> JoinRequest:
    digest = hashlib.sha256(token.encode()).hexdigest()
    return JoinRequest(digest, valid_s, serial, "devit-iot", FILES)


def refusal(joins: Joins, step: str, name: str, token: str, board: str) -> tuple[int, str]:
    with pytest.raises(JoinError) as caught:
        getattr(joins, step)(name, token, board)
    return caught.value.status, str(caught.value)


def test_a_board_asks_takes_and_ends(joins: Joins, tmp_path: Path) -> None:
    joins.allow("pi-3", request())
    assert joins.ask("pi-3", TOKEN, "a") == "devit-iot"
    assert joins.take("pi-3", TOKEN, "a") == FILES
    assert joins.take("pi-3", TOKEN, "a") == FILES  # its power was cut before it wrote them
    joins.end("pi-3", TOKEN, "a")
    joins.end("pi-3", TOKEN, "a")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "joins").iterdir())
    assert b"client.key" not in kept


def test_the_token_itself_is_not_kept(joins: Joins, tmp_path: Path) -> None:
    joins.allow("pi-3", request())
    (path,) = (tmp_path / "joins").iterdir()
    assert TOKEN.encode() not in path.read_bytes()
    assert (tmp_path / "joins").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("step", ["ask", "take", "end"])
@pytest.mark.parametrize(
    ("name", "token"), [("pi-3", "wrong"), ("pi-3", ""), ("pi-4", TOKEN), ("../pi-3", TOKEN)]
)
def test_a_token_is_for_one_name(joins: Joins, step: str, name: str, token: str) -> None:
    joins.allow("pi-3", request())
    joins.allow("pi-4", request("another"))
    status, said = refusal(joins, step, name, token, "a")
    assert status == 403
    assert "devit fleet add" in said


@pytest.mark.parametrize("ended", [False, True])
def test_a_second_board_is_refused(joins: Joins, *, ended: bool) -> None:
    joins.allow("pi-3", request())
    joins.take("pi-3", TOKEN, "a")
    if ended:
        joins.end("pi-3", TOKEN, "a")
    for step in ("ask", "take", "end"):
        status, said = refusal(joins, step, "pi-3", TOKEN, "b")
        assert status == 409
        assert "another board has joined as 'pi-3'" in said


def test_a_token_expires(joins: Joins, clock: Clock, tmp_path: Path) -> None:
    joins.allow("pi-3", request())
    clock.now += HOUR_S - 1
    assert joins.ask("pi-3", TOKEN, "a") == "devit-iot"
    clock.now += 1
    status, said = refusal(joins, "take", "pi-3", TOKEN, "a")
    assert (status, "has expired" in said) == (410, True)
    again = Joins(tmp_path / "joins", clock)  # a hub that starts forgets the key
    assert refusal(again, "ask", "pi-3", TOKEN, "a")[0] == 410
    assert b"client.key" not in next((tmp_path / "joins").iterdir()).read_bytes()


def test_a_board_ends_after_the_token_did(joins: Joins, clock: Clock) -> None:
    joins.allow("pi-3", request())
    joins.take("pi-3", TOKEN, "a")
    clock.now += 2 * HOUR_S
    joins.end("pi-3", TOKEN, "a")
    with pytest.raises(JoinError, match="a board has joined as 'pi-3' already"):
        joins.allow("pi-3", request("new"))


def test_only_another_certificate_lets_a_name_join_again(joins: Joins) -> None:
    joins.allow("pi-3", request("first"))
    joins.allow("pi-3", request())  # nobody used the first line
    assert refusal(joins, "take", "pi-3", "first", "a")[0] == 403
    joins.take("pi-3", TOKEN, "a")
    joins.end("pi-3", TOKEN, "a")
    with pytest.raises(JoinError, match="devit fleet revoke pi-3"):
        joins.allow("pi-3", request("new"))
    joins.allow("pi-3", request("new", serial="2"))
    assert joins.take("pi-3", "new", "b") == FILES


def test_a_hub_that_was_killed_knows_them_all(joins: Joins, clock: Clock, tmp_path: Path) -> None:
    joins.allow("pi-3", request())
    joins.take("pi-3", TOKEN, "a")
    again = Joins(tmp_path / "joins", clock)
    assert refusal(again, "take", "pi-3", TOKEN, "b")[0] == 409
    assert again.take("pi-3", TOKEN, "a") == FILES


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("../pi", {}),
        ("pi-3", {"valid_s": 0.0}),
        ("pi-3", {"valid_s": float("inf")}),
        ("pi-3", {"files": {"../authorized_keys": b""}}),
        ("pi-3", {"files": {"/etc/shadow": b""}}),
    ],
)
def test_bad_requests(joins: Joins, name: str, changes: dict[str, object]) -> None:
    with pytest.raises((ConfigError, DevitError)):
        joins.allow(name, msgspec.structs.replace(request(), **changes))


def test_a_damaged_file_is_one_clear_line(joins: Joins, tmp_path: Path) -> None:
    joins.allow("pi-3", request())
    (path,) = (tmp_path / "joins").iterdir()
    path.write_bytes(b"{")
    with pytest.raises(DevitError, match="delete it, and add the board again"):
        joins.ask("pi-3", TOKEN, "a")
