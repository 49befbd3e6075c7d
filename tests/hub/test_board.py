"""The program of a bare board, without a hub: what it writes where, and where it goes on."""

import base64
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from devit_iot.hub import board
from devit_iot.hub.board import BoardError, Hub, Places

ROOT = Path(__file__).parents[2]
TOKEN = "t0ken"  # noqa: S105
FILES = {"ca.crt": b"a", "client.crt": b"b", "client.key": b"c", "devit.toml": b"d"}


class StandIn(Hub):
    """Answers as a hub does, and remembers what it was asked."""

    def __init__(self, files: dict[str, bytes] = FILES) -> None:
        self.url = "https://hub"
        self.asked: list[str] = []
        self.boards: set[str] = set()
        self.files = files
        self.refuses: set[str] = set()

    def post(self, path: str, token: str, board: str) -> dict[str, Any]:
        step = path.rpartition("/")[2]
        self.asked.append(step)
        self.boards.add(board)
        assert token == TOKEN
        if step in self.refuses:
            raise BoardError("not now")
        files = {name: base64.b64encode(content).decode() for name, content in self.files.items()}
        return {"requirement": "devit-iot", "files": files}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Instead of pip: what the wheel would put there."""
    boards = tmp_path / "opt/devit/lib/python3.13/site-packages/devit_iot/boards"

    def install(_hub: Hub, requirement: str, _places: Places) -> None:
        assert requirement == "devit-iot"
        boards.mkdir(parents=True, exist_ok=True)
        for name in ("devit-node.service", "fleet.conf", "store.conf"):
            (boards / name).write_bytes((ROOT / "firmware_configs" / name).read_bytes())

    monkeypatch.setattr(board, "install", install)
    return boards


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What ``systemctl`` was told, one command a line; and we are root."""
    told = tmp_path / "told"
    (tmp_path / "bin").mkdir()
    systemctl = tmp_path / "bin/systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return told


def test_a_service_is_installed(told: Path, tmp_path: Path) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    hub = StandIn()
    board.run_as_service(hub, "pi-3", TOKEN, Places.of_service(tmp_path))
    assert hub.asked == ["ask", "take", "end"]
    fleet = tmp_path / "etc/devit/fleet"
    assert fleet.stat().st_mode & 0o777 == 0o700
    for name, content in FILES.items():
        assert (fleet / name).read_bytes() == content
        assert (fleet / name).stat().st_mode & 0o777 == 0o600
    units = tmp_path / "etc/systemd/system"
    assert (units / "devit-node.service").is_file()
    drop_ins = sorted(path.name for path in (units / "devit-node.service.d").iterdir())
    assert drop_ins == ["fleet.conf", "store.conf"]
    assert (tmp_path / "etc/devit/node.env").read_text() == "DEVIT_BOARD=pi5\n"
    assert told.read_text().splitlines() == [
        "daemon-reload", "enable devit-node", "restart devit-node"
    ]  # fmt: skip


def test_the_line_pasted_again_installs_and_starts_again(told: Path, tmp_path: Path) -> None:
    hub = StandIn()
    places = Places.of_service(tmp_path)
    board.run_as_service(hub, "pi-3", TOKEN, places)
    (tmp_path / "etc/devit/node.env").write_text("DEVIT_METRICS=:9464\n")
    board.run_as_service(hub, "pi-3", TOKEN, places)
    assert hub.asked == ["ask", "take", "end", "ask", "end"]
    assert (tmp_path / "etc/devit/node.env").read_text() == "DEVIT_METRICS=:9464\n"
    assert told.read_text().splitlines().count("restart devit-node") == 2


@pytest.mark.parametrize("step", ["ask", "take", "end"])
def test_a_board_that_is_cut_off_goes_on_as_the_same_one(step: str, tmp_path: Path) -> None:
    hub = StandIn()
    places = Places.below(tmp_path / "board")
    hub.refuses = {step}
    with pytest.raises(BoardError):
        board.join(hub, "pi-3", TOKEN, places)
    hub.refuses = set()
    board.join(hub, "pi-3", TOKEN, places)
    assert len(hub.boards) == 1
    assert (places.fleet / "client.key").read_bytes() == b"c"


def test_another_line_brings_other_files(tmp_path: Path) -> None:
    places = Places.below(tmp_path / "board")
    board.join(StandIn(), "pi-3", TOKEN, places)
    kept = json.loads((places.fleet / "joined.json").read_text())
    assert kept["token"] == hashlib.sha256(TOKEN.encode()).hexdigest()
    (places.fleet / "joined.json").write_text(json.dumps({**kept, "token": "of another line"}))
    board.join(StandIn({**FILES, "client.key": b"new"}), "pi-3", TOKEN, places)
    assert (places.fleet / "client.key").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["../authorized_keys", "/etc/shadow", ""])
def test_no_file_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="a file with the name"):
        board.join(StandIn({name: b""}), "pi-3", TOKEN, Places.below(tmp_path / "board"))


@pytest.mark.parametrize(
    ("is_root", "has_systemd", "said"),
    [(False, True, "with `sudo` in it"), (True, False, "has no systemd: `devit fleet add")],
)
def test_a_service_needs_root_and_systemd(
    told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *,
    is_root: bool, has_systemd: bool, said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(os, "geteuid", lambda: 0 if is_root else 1000)
    if not has_systemd:
        monkeypatch.setenv("PATH", str(told.parent))
    with pytest.raises(BoardError, match=said):
        board.run_as_service(StandIn(), "pi-3", TOKEN, Places.of_service(tmp_path))


def test_systemd_that_refuses(told: Path, tmp_path: Path) -> None:
    (tmp_path / "bin/systemctl").write_text("#!/bin/sh\necho no such unit >&2\nexit 1\n")
    with pytest.raises(BoardError, match="systemd refuses: no such unit"):
        board.run_as_service(StandIn(), "pi-3", TOKEN, Places.of_service(tmp_path))
    assert not told.exists()


def test_an_old_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    hub = StandIn()
    with pytest.raises(BoardError, match=r"needs Python 3\.11 or later"):
        board.join(hub, "pi-3", TOKEN, Places.below(tmp_path / "board"))
    assert hub.asked == []


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Raspberry Pi 4 Model B Rev 1.5\0", "pi4b"),
        ("Raspberry Pi Zero 2 W Rev 1.0\0", "zero2w"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3\0", "pi3bplus"),
        ("Banana Pi\0", ""),
    ],
)
def test_boards_that_are_known(model: str, name: str, tmp_path: Path) -> None:
    assert board.board_of(tmp_path) == ""
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_text(model)
    assert board.board_of(tmp_path) == name
    assert not name or (ROOT / f"firmware_configs/{name}.toml").is_file()


def test_every_board_has_its_file() -> None:
    for name in board._BOARDS.values():
        assert (ROOT / f"firmware_configs/{name}.toml").is_file()
