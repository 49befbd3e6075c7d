"""Boards that may join: each has a token that one board can use once, before it expires."""

import hashlib
import hmac
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from devit_iot.errors import DevitError
from devit_iot.protocol.release import Sha256
from devit_iot.protocol.topics import check_name
from devit_iot.updates.durable import write_file

_REFUSED = 403
_GONE = 410
_TAKEN = 409
_FILE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class JoinError(DevitError):
    """A board may not join, and why.

    Attributes:
        status: HTTP status of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class JoinRequest(msgspec.Struct, frozen=True):
    """What the fleet's owner leaves with the hub for one board.

    Attributes:
        token_sha256: SHA-256 of the token; the token itself is only in the board's line.
        valid_s: for how long the token is good, by the hub's clock.
        serial: number of the board's certificate, in hex.
        requirement: what pip is to install on the board.
        files: what the board is given: its certificate, its key and its configuration.
    """

    token_sha256: Sha256
    valid_s: float
    serial: str
    requirement: str
    files: dict[str, bytes]


class _Join(msgspec.Struct, frozen=True):
    """A file of the folder.

    Attributes:
        name: name of the board.
        request: what the owner asked for; the files go when the board has them.
        expires: when the token ends, seconds since 1970.
        board: SHA-256 of what the board that took the files calls itself; empty: none did.
        joined: whether that board has said that it keeps the files.
    """

    name: str
    request: JoinRequest
    expires: float
    board: str = ""
    joined: bool = False


class Joins:
    """The boards that may join or have joined, each in a file that only the hub reads.

    Args:
        folder: made if it is missing.
        clock: seconds since 1970.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._clock = clock
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._forget_expired()

    def allow(self, name: str, request: JoinRequest) -> None:
        """Let one board join as ``name``; an earlier token for that name is worth nothing then.

        Raises:
            DevitError: a board has joined with this certificate already, or the request is bad.
        """
        check_name("node", name)
        if not 0 < request.valid_s < float("inf"):
            raise DevitError("a token must be valid for some seconds")
        if wrong := next((file for file in request.files if not _FILE.fullmatch(file)), None):
            raise DevitError(f"'{wrong[:64]}' is no name of a file for a board")
        known = self._read(name)
        if known is not None and known.joined and known.request.serial == request.serial:
            raise JoinError(
                _TAKEN,
                f"a board has joined as '{name}' already: choose another name, or `devit fleet "
                f"revoke {name}` if that board is lost or was flashed again",
            )
        self._forget_expired()
        self._write(_Join(name, request, self._clock() + request.valid_s))

    def ask(self, name: str, token: str, board: str) -> str:
        """What a board with this token is to install.

        Args:
            name: as what it wants to join.
            token: token of its line.
            board: what it calls itself, and nobody else.

        Raises:
            JoinError: it may not join.
        """
        return self._allowed(name, token, board).request.requirement

    def take(self, name: str, token: str, board: str) -> dict[str, bytes]:
        """The files of ``name``, for this board alone from now on.

        Raises:
            JoinError: it may not join.
        """
        join = self._allowed(name, token, board)
        if not join.request.files:
            raise JoinError(
                _GONE,
                f"the hub keeps the files of '{name}' no longer: `devit fleet revoke {name}`"
                f" and `devit fleet add {name}` make others",
            )
        self._write(msgspec.structs.replace(join, board=_sum(board)))
        return join.request.files

    def end(self, name: str, token: str, board: str) -> None:
        """The board keeps the files; they are not needed here any more.

        Raises:
            JoinError: another board has them, or this one never got them.
        """
        join = self._allowed(name, token, board)
        if not join.board:
            raise JoinError(_REFUSED, f"no board has the files of '{name}' yet")
        request = msgspec.structs.replace(join.request, files={})
        self._write(msgspec.structs.replace(join, request=request, joined=True))

    def _allowed(self, name: str, token: str, board: str) -> _Join:
        join = self._read(name)
        if join is None or not hmac.compare_digest(join.request.token_sha256, _sum(token)):
            raise JoinError(
                _REFUSED,
                f"this line lets no board join as '{name}': it was cut, or `devit fleet add {name}`"
                " printed a newer one",
            )
        if join.board and join.board != _sum(board):
            raise JoinError(_TAKEN, _used(name))
        if not join.board and self._clock() >= join.expires:
            raise JoinError(
                _GONE, f"the line for '{name}' has expired: `devit fleet add {name}` prints another"
            )
        return join

    def _forget_expired(self) -> None:
        """Remove the keys that nobody may fetch any more."""
        for path in self._folder.glob("*.json"):
            join = _decode(path)
            if join.request.files and self._clock() >= join.expires:
                request = msgspec.structs.replace(join.request, files={})
                self._write(msgspec.structs.replace(join, request=request))

    def _path(self, name: str) -> Path:
        return self._folder / f"{_sum(name)[:32]}.json"

    def _read(self, name: str) -> _Join | None:
        path = self._path(name)
        return _decode(path) if path.exists() else None

    def _write(self, join: _Join) -> None:
        write_file(self._path(join.name), msgspec.json.encode(join))


def _decode(path: Path) -> _Join:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Join)
    except msgspec.DecodeError as error:
        raise DevitError(
            f"{path} does not parse ({error}): delete it, and add the board again"
        ) from error


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _used(name: str) -> str:
    return (
        f"another board has joined as '{name}' with this line: give this one a name of its own with"
        " `devit fleet add`"
    )
