"""The boards of a plan: from files, from shipped estimates, and from what nodes announced."""

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import click
import msgspec

from devit_iot.cli.options import shipped_files
from devit_iot.cli.watching import watch
from devit_iot.config.board_profile import read_profile
from devit_iot.config.config import Config
from devit_iot.errors import ConfigError, MessageError
from devit_iot.protocol.board import BoardProfile
from devit_iot.protocol.status import NodeStatus
from devit_iot.protocol.text import shown
from devit_iot.protocol.topics import Topics, check_name
from devit_iot.transport.base import Message

_READY_S = 10.0
_LISTEN_S = 2.0
_MAX_COUNT = 1000
_GIVEN = re.compile(r"(?:(?P<name>[^=/]+)=)?(?P<profile>.+?)(?::(?P<count>\d+))?")


def given_boards(texts: Sequence[str]) -> list[BoardProfile]:
    """The boards that ``[NAME=]PROFILE[:COUNT]`` stand for, in turn.

    Raises:
        ConfigError: there is no such profile, or it is not usable.
    """
    return [board for text in texts for board in _boards(text)]


def _boards(text: str) -> Iterator[BoardProfile]:
    found = _GIVEN.fullmatch(text)
    if found is None:
        raise ConfigError(f"--board '{text}' is not [NAME=]PROFILE[:COUNT]")
    profile = _profile(found["profile"])
    name = check_name("board", found["name"] or profile.name)
    count = int(found["count"] or 1)
    if not 1 <= count <= _MAX_COUNT:
        raise ConfigError(f"--board '{text}': there are 1 to {_MAX_COUNT} boards of a kind")
    for index in range(count):
        numbered = name if found["count"] is None else f"{name}-{index + 1}"
        yield msgspec.structs.replace(profile, name=numbered)


def _profile(name: str) -> BoardProfile:
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return read_profile(path)
    known = shipped_files("profiles")
    if name not in known:
        raise ConfigError(
            f"no board '{name}': give the file that devit bench --profile wrote, or one of: "
            f"{', '.join(sorted(known))}"
        )
    return read_profile(known[name])


def announced_boards(config: Config) -> list[BoardProfile]:
    """The boards of all nodes that are online and announced a measurement.

    Raises:
        BrokerError: there is no connection.
        ConfigError: nobody announced one.
    """
    topics = Topics(config.fleet)
    heard: dict[str, bytes] = {}
    lock = threading.Lock()

    def take(message: Message) -> None:
        with suppress(MessageError), lock:  # a topic without a usable name is nobody's
            heard[topics.node_of(message.topic)] = message.payload

    with watch(config, "plan", (topics.node_statuses,), take) as link:
        link.wait_ready(_READY_S)
        time.sleep(_LISTEN_S)
    with lock:
        boards = [board for name in sorted(heard) for board in _announced(name, heard[name])]
    if not boards:
        raise ConfigError(
            f"no node of the fleet '{config.fleet}' announced a measured board: run devit bench "
            "--profile FILE on each and start its node with --profile FILE"
        )
    return boards


def _announced(name: str, payload: bytes) -> Iterator[BoardProfile]:
    """The board of one node; says in a line why there is none."""
    if not payload:
        return
    try:
        status = NodeStatus.decode(payload)
        board = msgspec.structs.replace(status.board or BoardProfile(name), name=name)
        if status.state != "online":
            _leave_out(name, "it is offline")
        elif not board.measured:
            _leave_out(name, "it announced no measurement: start it with --profile FILE")
        else:
            board.check(f"what {name} announced")
            yield board
    except (MessageError, ConfigError) as error:
        _leave_out(name, str(error))


def _leave_out(name: str, reason: str) -> None:
    click.echo(f"left out: {shown(name)}, {shown(reason)}", err=True)
