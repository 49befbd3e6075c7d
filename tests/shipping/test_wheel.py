"""What `make wheels` makes for one Python: tags, contents, a label in a clean environment."""

import ast
import json
import platform
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.shipping.clean import (
    bare,
    download,
    environment,
    kernels_found,
    said,
)
from tests.shipping.conftest import PYTHON
from tests.shipping.manifests import ROOT
from tests.support.wheels import NODE_BYTES, disk_bytes

pytestmark = pytest.mark.slow
BASE = {"click", "msgspec", "numpy", "paho-mqtt", "pillow", "safetensors"}
OWN_BYTES = 13e6
"""What the wheel's files may take of NODE_BYTES; 8 MB are the demo."""


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_the_wheel_is_for_every_linux_with_the_glibc_that_documents_ask_for(dist: Path) -> None:
    tag = f"cp{PYTHON.replace('.', '')}"
    name = only(dist, "*.whl").name
    found = {
        glibc
        for page in ("install.md", "troubleshooting.md")
        for glibc in re.findall(r"glibc (\d+\.\d+)", (ROOT / "docs" / page).read_text())
    }
    (glibc,) = found
    system = f"manylinux_{glibc.replace('.', '_')}_{platform.machine()}"
    assert name.endswith(f"-{tag}-{tag}-{system}.whl")


def test_the_wheel_has_what_a_board_needs_and_nothing_of_the_build(dist: Path) -> None:
    with zipfile.ZipFile(only(dist, "*.whl")) as wheel:
        names = set(wheel.namelist())
        version = wheel.read("devit_iot/_version.py").decode()
    assert {"devit_iot/boards/pi5.toml", "devit_iot/demo/bundle/manifest.json"} <= names
    assert len([name for name in names if name.startswith("devit_iot/_core.cpython-")]) == 1
    assert {name.partition("/")[0] for name in names if "dist-info" not in name} == {"devit_iot"}
    assigned = ast.parse(version).body[-1]
    assert isinstance(assigned, ast.Assign)
    assert ast.literal_eval(assigned.value) == only(dist, "*.whl").name.split("-")[1]


def test_the_source_distribution_builds_what_the_wheel_has(dist: Path) -> None:
    with tarfile.open(only(dist, "*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CMakeLists.txt", "pyproject.toml", "broker/mosquitto.conf", "PKG-INFO"} <= names
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.cc")}
    assert sources <= names
    assert not any(name.startswith(("build/", "dist/", ".venv/")) for name in names)


def test_the_bill_of_materials_names_what_is_installed(dist: Path) -> None:
    bill = json.loads(only(dist, "*.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert {component["name"] for component in bill["components"]} == BASE
    component = bill["metadata"]["component"]
    assert component["name"] == "devit-iot"
    assert component["version"] == only(dist, "*.whl").name.split("-")[1]


def test_a_clean_environment_makes_labels(dist: Path, tmp_path: Path) -> None:
    download("devit-iot[demo]", dist, tmp_path / "wheels")
    programs = environment(tmp_path / "devit", "devit-iot[demo]", tmp_path / "wheels")
    env = bare(programs)
    version = said(programs / "devit", "--version", env=env, cwd=tmp_path)
    assert version.split()[-1] == only(dist, "*.whl").name.split("-")[1]
    assert "float32" in kernels_found(programs / "devit", env=env)
    demo = said(
        programs / "devit", "demo", "--count", "6", "--rate", "2", "--json", env=env, cwd=tmp_path
    )
    result = json.loads(demo.splitlines()[-1])
    assert (result["labels"], result["degraded"]) == (6, 0)


def test_a_node_takes_little_of_a_disk(dist: Path, tmp_path: Path) -> None:
    """Installed and loaded once, as the line of `devit fleet add` does it."""
    with zipfile.ZipFile(only(dist, "*.whl")) as wheel:
        assert sum(entry.file_size for entry in wheel.infolist()) < OWN_BYTES
    download("devit-iot", dist, tmp_path / "wheels")
    programs = environment(tmp_path / "devit", "devit-iot", tmp_path / "wheels", "--no-compile")
    said(programs / "python", "-I", "-c", "import devit_iot.build_managed", cwd=tmp_path)
    assert disk_bytes(tmp_path / "devit") < NODE_BYTES
