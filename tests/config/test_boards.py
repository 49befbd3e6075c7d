"""The board files and systemd units in firmware_configs/."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from devit_iot.cli.aggregate import start as aggregate
from devit_iot.cli.collect import collect
from devit_iot.cli.hub import hub
from devit_iot.cli.node import start
from devit_iot.cli.old_options import OLD_VARIABLES
from devit_iot.cli.options import board_file
from devit_iot.config.config import NodeConfig, load_config
from devit_iot.engine.base import ENGINES
from devit_iot.fleet.folder import FleetFolder, FleetState

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "firmware_configs"
BOARDS = sorted(FOLDER.glob("*.toml"))
COMMANDS: dict[str, click.Command] = {
    "node": start,
    "aggregate": aggregate,
    "hub": hub,
    "collect": collect,
}
FOLDERS = {"hub": "DEVIT_HUB_FOLDER", "collect": "DEVIT_COLLECT_FOLDER"}
SYSTEMD = shutil.which("systemd-analyze")
MIB = 2**20


def node_config(board: Path) -> NodeConfig:
    return load_config([board], {}).node


def known_isas() -> set[str]:
    return set(re.findall(r'\.isa = "(\w+)"', (ROOT / "csrc/kernels/registry.cc").read_text()))


def variables(text: str) -> set[str]:
    """The DEVIT_* variables that a unit or an environment file sets, commented ones included."""
    return set(re.findall(r"^(?:# |Environment=)?(DEVIT_\w+)=", text, re.MULTILINE))


def test_the_boards_are_these() -> None:
    names = {"jetson-orin-nano", "pi3bplus", "pi4b", "pi5", "x86", "zero2w"}
    assert {board.stem for board in BOARDS} == names


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_a_board_sets_only_what_the_hardware_decides(board: Path) -> None:
    wanted = {"isa", "threads", "memory_mib", "max_pixels", "max_payload_bytes", "max_cameras"}
    table = tomllib.loads(board.read_text())
    assert set(table) == {"node"}
    assert set(table["node"]) == wanted


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_a_board_is_found_by_name_and_loads(board: Path) -> None:
    assert board_file(board.stem).read_text() == board.read_text()
    node_config(board)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_a_board_forces_kernels_that_exist(board: Path) -> None:
    isa = {"x86": "", "pi5": "neon_dotprod", "jetson-orin-nano": "neon_dotprod"}
    assert node_config(board).isa == isa.get(board.stem, "neon")
    assert {"neon", "neon_dotprod"} <= known_isas()
    assert node_config(board).engine in ENGINES


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_the_worst_images_leave_a_third_of_the_memory_for_weights(board: Path) -> None:
    """64 MiB for the process, 17 bytes a pixel for the worst decoder (WebP, measured)."""
    node = node_config(board)
    worst = 64 * MIB + 17 * node.max_pixels + node.max_cameras * node.max_payload_bytes
    assert worst < 2 / 3 * node.memory_mib * MIB


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_the_readme_lists_the_board(board: Path) -> None:
    assert f"[{board.name}]({board.name})" in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("kind", COMMANDS)
def test_services_use_options_that_exist(kind: str) -> None:
    unit = (FOLDER / f"devit-{kind}.service").read_text()
    example = (FOLDER / f"{kind}.env.example").read_text()
    known = {"DEVIT_PASSWORD"}
    for option in COMMANDS[kind].params:
        known |= {option.envvar} if isinstance(option.envvar, str) else {*(option.envvar or ())}
    known -= OLD_VARIABLES.keys()
    assert variables(unit) == {FOLDERS.get(kind, "DEVIT_BUNDLE")}
    assert variables(unit) | variables(example) <= known
    assert {"DEVIT_BROKER", "DEVIT_FLEET"} <= variables(example)
    assert f"EnvironmentFile=/etc/devit/{kind}.env\n" in unit


@pytest.mark.parametrize("kind", COMMANDS)
def test_services_start_an_installed_command(kind: str) -> None:
    unit = (FOLDER / f"devit-{kind}.service").read_text()
    (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    program, *arguments = shlex.split(line)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert Path(program).name in scripts
    assert arguments == [kind if kind in FOLDERS else "start"]


def test_the_drop_in_loads_what_a_client_of_a_fleet_has(tmp_path: Path) -> None:
    made = FleetFolder.create(tmp_path / "fleet", FleetState("home", ("hub",)))
    drop_in = (FOLDER / "fleet.conf").read_text()
    loaded = re.findall(r"^LoadCredential=(\S+):/etc/devit/fleet/\1$", drop_in, re.MULTILINE)
    made.add("pi-0", "node")
    assert sorted(loaded) == sorted(made.client_files("pi-0"))
    assert "SetCredential=root.json:" in drop_in  # for a fleet that was made without one
    assert drop_in.count("LoadCredential=") == len(loaded)
    assert "Environment=DEVIT_CONFIG=%d/devit.toml\n" in drop_in


def test_the_drop_in_for_a_store_takes_the_place_of_the_bundle() -> None:
    drop_in = (FOLDER / "store.conf").read_text()
    assert variables(drop_in) == {"DEVIT_STORE"}
    assert "UnsetEnvironment=DEVIT_BUNDLE\n" in drop_in
    assert "StateDirectory=%p\n" in drop_in  # where DEVIT_STORE is
    for kind in ("node", "aggregate"):
        assert "DEVIT_STORE" in str([option.envvar for option in COMMANDS[kind].params])


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("kind", COMMANDS)
@pytest.mark.skipif(SYSTEMD is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit(kind: str, tmp_path: Path, *, secure: bool) -> None:
    if secure:
        (tmp_path / f"devit-{kind}.service.d").mkdir()
        for name in ("fleet.conf", "store.conf"):
            shutil.copy(FOLDER / name, tmp_path / f"devit-{kind}.service.d")
    unit = (FOLDER / f"devit-{kind}.service").read_text()
    copy = tmp_path / f"devit-{kind}.service"
    copy.write_text(re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", unit, flags=re.MULTILINE))
    done = subprocess.run(
        [str(SYSTEMD), "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
