"""What cloud-init is given: it parses, and its unit is one that systemd understands."""

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from devit_iot.fleet.join_line import Ticket, join_line, user_data

TICKET = Ticket("https://hub.local:8485", b"authority", "pi-3", "t0ken-_")
SYSTEMD = shutil.which("systemd-analyze")


def parsed(text: str) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="mkdocs, which the docs need, brings it")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def test_user_data_holds_what_the_line_holds() -> None:
    text = user_data(TICKET)
    content = parsed(text)
    assert text.startswith("#cloud-config\n")
    assert content["hostname"] == "pi-3"
    files = {file["path"]: file for file in content["write_files"]}
    script = files["/etc/devit/join"]
    assert script["permissions"] == "0600"
    assert shlex.split(script["content"])[1:] == shlex.split(join_line(TICKET))[1:]
    assert content["runcmd"][-1][-1] == "devit-join.service"


@pytest.mark.parametrize("name", ["pi_3", "pi.3", "x" * 64])
def test_a_name_that_no_host_can_have_is_none(name: str) -> None:
    assert "hostname" not in parsed(user_data(TICKET._replace(name=name)))


def test_a_number_is_a_name_too() -> None:
    assert parsed(user_data(TICKET._replace(name="33")))["hostname"] == "33"


@pytest.mark.skipif(SYSTEMD is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    files = {file["path"]: file for file in parsed(user_data(TICKET))["write_files"]}
    unit = tmp_path / "devit-join.service"
    unit.write_text(files["/etc/systemd/system/devit-join.service"]["content"])
    done = subprocess.run(
        [str(SYSTEMD), "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
