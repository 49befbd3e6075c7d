"""Old names of configuration keys work for one minor version, and say their new name once."""

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

import devit_iot
from devit_iot.config.config import Config, load_config
from devit_iot.config.old_keys import LAST_VERSION, OLD_KEYS
from devit_iot.errors import ConfigError
from devit_iot.keys import check_keys

VALUES: dict[str, Any] = {
    "cameras": ["frigate"],
    "broker.settle_s": 3.5,
    "node.memory_mb": 123,
    "node.max_waiting_mb": 7,
}


def load(tmp_path: Path, *keys: str, value: object) -> Config:
    """The configuration of a file in which each of ``keys`` has this value."""
    lines = []
    for key in keys:
        table, _, name = key.rpartition(".")
        head = f"[{table}]\n" if table and f"[{table}]\n" not in lines else ""
        lines += [head, f"{name} = {msgspec.json.encode(value).decode()}\n"]
    file = tmp_path / "fleet.toml"
    file.write_text("".join(lines))
    return load_config([file], {})


@pytest.mark.parametrize(("old", "new"), OLD_KEYS.items())
def test_an_old_key_works_and_warns_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, old: str, new: str
) -> None:
    with caplog.at_level(logging.WARNING):
        wanted = load(tmp_path, new, value=VALUES[old])
        assert caplog.messages == []
        assert load(tmp_path, old, value=VALUES[old]) == wanted != Config()
    (said,) = caplog.messages
    assert said.startswith(f"{tmp_path / 'fleet.toml'}: key '{old}' is now called '{new}'; ")
    assert LAST_VERSION in said
    assert "\n" not in said


@pytest.mark.parametrize(("old", "new"), OLD_KEYS.items())
def test_an_old_key_beside_the_new_one_is_refused(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(ConfigError, match=f"fleet.toml: '{old}' and '{new}' are the same key"):
        load(tmp_path, old, new, value=VALUES[old])


@pytest.mark.parametrize(("old", "new"), OLD_KEYS.items())
def test_old_keys_are_none_of_the_present_ones(old: str, new: str) -> None:
    for key, known in ((old, False), (new, True)):
        table, _, name = key.rpartition(".")
        layer = {table: {name: VALUES[old]}} if table else {name: VALUES[old]}
        if known:
            check_keys(layer, Config, "", "x")
        else:
            with pytest.raises(ConfigError, match="unknown key"):
                check_keys(layer, Config, "", "x")


def test_a_wrong_value_of_an_old_key_is_named_by_the_new_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"node\.memory_mib must be positive"):
        load(tmp_path, "node.memory_mb", value=0)
    with pytest.raises(ConfigError, match=r"\$\.node\b"):
        load(tmp_path, "node", value="no table")


def test_an_old_key_in_a_later_file_wins_over_the_new_one_in_an_earlier(tmp_path: Path) -> None:
    board, own = tmp_path / "board.toml", tmp_path / "own.toml"
    board.write_text("[node]\nmemory_mib = 100\n")
    own.write_text("[node]\nmemory_mb = 200\n")
    assert load_config([board, own], {}).node.memory_mib == 200
    assert load_config([own, board], {}).node.memory_mib == 100


def test_the_old_names_are_gone_when_their_time_is_over() -> None:
    """With the next minor version the tables OLD_KEYS, OLD_OPTIONS and OLD_VARIABLES go."""
    assert devit_iot.__version__.startswith(f"{LAST_VERSION}.")
