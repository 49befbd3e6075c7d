"""``[updates]``: paths count from the file, and impossible values are named."""

import subprocess
import sys
from pathlib import Path

import pytest

from devit_iot.config.config import load_config
from devit_iot.config.updates import read_file
from devit_iot.errors import ConfigError


def test_paths_count_from_the_file_s_folder(tmp_path: Path) -> None:
    file = tmp_path / "devit.toml"
    file.write_text('[updates]\nroot_file = "root.json"\nkey_file = "hub.key"\n')
    updates = load_config([file], {}).updates
    assert updates.root_file == str(tmp_path / "root.json")
    assert updates.key_file == str(tmp_path / "hub.key")
    assert updates.expiry == "auto"


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ('key_file = "hub.key"', "updates.key_file needs updates.root_file"),
        ('expiry = "sometimes"', "expiry"),
        ("root_file = 7", "root_file"),
        ('root = "root.json"', "root"),
    ],
)
def test_what_cannot_be_is_named(tmp_path: Path, lines: str, error: str) -> None:
    file = tmp_path / "devit.toml"
    file.write_text(f"[updates]\n{lines}\n")
    with pytest.raises(ConfigError, match=error):
        load_config([file], {})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read updates\.root_file .*none: No such file"):
        read_file(str(tmp_path / "none"), "updates.root_file")


def test_a_board_without_the_extra_says_which() -> None:
    code = "import sys; sys.modules['tuf'] = None; import devit_iot.updates.verifier"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'devit-iot[updates]'" in done.stderr


def test_a_board_verifies_without_cryptography() -> None:
    """It is large, and there are boards for which nobody compiles it."""
    code = "import sys; sys.modules['cryptography'] = None; import devit_iot.updates.verifier"
    subprocess.run([sys.executable, "-c", code], check=True)
