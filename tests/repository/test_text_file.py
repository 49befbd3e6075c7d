"""Every text file that people write is read alike: by its byte-order mark, in any locale."""

import codecs
import os
import threading
from pathlib import Path

import pytest

from devit_iot.config.config import BrokerConfig, load_config, read_password
from devit_iot.datasets.class_names import read_class_names
from devit_iot.decompose.recipe import load_recipe
from devit_iot.errors import ConfigError
from devit_iot.fleet.folder import STATE, FleetFolder, FleetState
from devit_iot.text_file import decode_text, read_text

ROOT = Path(__file__).parents[2]
SAVED = {
    "as it is": lambda text: text.encode(),
    "Notepad's UTF-8": lambda text: codecs.BOM_UTF8 + text.encode(),
    "PowerShell's UTF-16": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "big-endian UTF-16": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "Notepad's lines": lambda text: codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode(),
}
EDITORS = pytest.mark.parametrize("editor", SAVED)
# What people do not write: the kernel's files, what we wrote ourselves, what is shipped.
OTHERS = {
    "bench/process.py", "bench/measure_board.py", "decompose/run_folder/clock.py",
    "engine/image.py", "doctor/board.py", "sysfs.py", "demo/processes.py",
    "cli/decompose.py", "fleet/mosquitto.py", "hub/board.py",
}  # fmt: skip


def save(editor: str, path: Path, text: str) -> Path:
    path.write_bytes(SAVED[editor](text))
    return path


@EDITORS
def test_a_configuration(editor: str, tmp_path: Path) -> None:
    text = '# Küche\nfleet = "barn"\n[broker]\nusername = "Jörg"\n'
    config = load_config([save(editor, tmp_path / "fleet.toml", text)], {})
    assert (config.fleet, config.broker.username) == ("barn", "Jörg")


@EDITORS
def test_a_password(editor: str, tmp_path: Path) -> None:
    file = save(editor, tmp_path / "password", "sécrét\nsecond line\n")
    assert read_password(BrokerConfig(password_file=str(file)), {}) == "sécrét"


@EDITORS
def test_a_recipe(editor: str, tmp_path: Path) -> None:
    shipped = ROOT / "devit_iot" / "decompose" / "recipes" / "digits.toml"
    mine = save(editor, tmp_path / "mine.toml", f"# Übung\n{shipped.read_text()}")
    assert load_recipe(str(mine))[0] == load_recipe("digits")[0]


@EDITORS
def test_names_of_classes(editor: str, tmp_path: Path) -> None:
    assert read_class_names(save(editor, tmp_path / "lines", "Äpfel\nfox\n")) == ("Äpfel", "fox")
    assert read_class_names(save(editor, tmp_path / "json", '["Äpfel"]')) == ("Äpfel",)


@EDITORS
def test_the_fleets_own_file_that_its_owner_changed(editor: str, tmp_path: Path) -> None:
    made = FleetFolder.create(tmp_path / "fleet", FleetState("barn", ("hub.local",)))
    file = made.path / STATE
    save(editor, file, file.read_text().replace("hub.local", "broker.local"))
    assert FleetFolder(made.path).fleet.hosts == ("broker.local",)


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    for content in (b"\xff", b"fleet = \xe9", codecs.BOM_UTF16_LE + b"x"):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"fleet\.toml"):
            load_config([file], {})
        with pytest.raises(ConfigError, match="password_file"):
            read_password(BrokerConfig(password_file=str(file)), {})


def test_a_file_that_is_only_a_mark_is_empty(tmp_path: Path) -> None:
    file = save("Notepad's UTF-8", tmp_path / "password", "")
    with pytest.raises(ConfigError, match="is empty"):
        read_password(BrokerConfig(password_file=str(file)), {})


def test_a_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    """As a shell makes it of ``--password-file <(pass show hub)``."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(codecs.BOM_UTF8 + b"secret\n",))
    writer.start()
    assert read_text(pipe) == "secret\n"
    writer.join()


def test_only_the_first_mark_is_left_out() -> None:
    assert decode_text(codecs.BOM_UTF8 * 2 + b"a\rb") == "\ufeffa\nb"
    assert decode_text(b"a\xffb", "replace") == "a\ufffdb"


def test_no_other_file_is_read_in_another_way() -> None:
    package = ROOT / "devit_iot"
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if ".read_text(" in path.read_text() or 'decode("utf-8' in path.read_text()
    }
    assert found == OTHERS
