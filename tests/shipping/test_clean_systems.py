"""A release's wheels on systems where nothing was installed before: `make test-wheels`.

The wheels are those in dist/; what is not there is skipped and said. mmdebstrap makes Debian's root
file systems; what is for 64-bit Arm runs under emulation.
"""

import json
import os
import time
from pathlib import Path

import pytest

from devit_iot.demo.processes import FleetProcesses
from devit_iot.programs import own_program
from tests.arm.emulated import emulated_python, needs_tools
from tests.e2e.watching import known_images, watching
from tests.shipping.clean import PIP, download, kernels_found, said
from tests.shipping.manifests import ROOT
from tests.support.fleets import wait_until
from tests.support.mosquitto import needs_mosquitto

DIST = ROOT / "dist"
BUILD = ROOT / "build" / "clean"
START_S = 300.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "DEVIT_WHEELS" not in os.environ,
        reason="`make test-wheels` runs this: it needs a release's wheels, and several minutes",
    ),
]


def wheel(python: str, arch: str) -> Path:
    """The wheel of a release for one Python and CPU."""
    found = list(DIST.glob(f"*-cp{python.replace('.', '')}-*_{arch}.whl"))
    if not found:
        pytest.skip(f"dist/ has no wheel for CPython {python} on {arch}: make wheels")
    return found[0]


def offline(python: str, arch: str, folder: Path) -> None:
    """Our wheel and all that it needs, for another Python and CPU than this one."""
    wheel(python, arch)
    platforms = [f"--platform=manylinux_2_{glibc}_{arch}" for glibc in (36, 28, 27, 17)]
    platforms.append(f"--platform=manylinux2014_{arch}")
    version = f"--python-version={python}"
    download("devit-iot[demo]", DIST, folder, version, "--implementation=cp", *platforms)


@pytest.mark.parametrize(("suite", "python"), [("bookworm", "3.11"), ("trixie", "3.13")])
def test_debian_makes_labels(suite: str, python: str) -> None:
    wheel(python, "x86_64")
    root = BUILD / suite
    packages = "--include=python3,python3-venv"
    said("rm", "-rf", root)
    BUILD.mkdir(parents=True, exist_ok=True)
    said("mmdebstrap", "--quiet", "--variant=minbase", packages, suite, root)
    offline(python, "x86_64", root / "wheels")
    begun = time.monotonic()
    said("chroot", root, "python3", "-m", "venv", "/devit")
    said("chroot", root, "/devit/bin/pip", "install", "--quiet", "--pre", "--no-index",
         "--find-links=/wheels", "devit-iot[demo]")  # fmt: skip
    took = time.monotonic() - begun
    size = int(said("du", "--summarize", "--bytes", root / "devit").split()[0])
    print(f"{suite}: {took:.0f} s, {size / 2**20:.0f} MiB")  # noqa: T201 - figures of the documents
    assert "float32" in kernels_found("chroot", root, "/devit/bin/devit")
    demo = said("chroot", root, "/devit/bin/devit", "demo", "--count=6", "--rate=2", "--json")
    result = json.loads(demo.splitlines()[-1])
    assert (result["labels"], result["degraded"]) == (6, 0)


@needs_tools
@needs_mosquitto
def test_an_emulated_board_makes_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip chooses the wheel by its tags, as it would on the board."""
    offline("3.11", "aarch64", tmp_path / "wheels")
    site = tmp_path / "site"
    wheels = sorted((tmp_path / "wheels").glob("*.whl"))
    said(
        *PIP, "install", "--quiet", "--no-index", "--no-deps", "--only-binary=:all:",
        f"--target={site}", "--python-version=3.11", "--implementation=cp", "--abi=cp311",
        "--abi=abi3", "--abi=none", "--platform=manylinux_2_36_aarch64",
        "--platform=manylinux_2_28_aarch64", "--platform=manylinux_2_27_aarch64",
        "--platform=manylinux_2_17_aarch64", "--platform=manylinux2014_aarch64", *wheels,
    )  # fmt: skip
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.chdir(tmp_path)
    python = str(emulated_python("cortex-a72"))
    assert "neon" in kernels_found(*own_program("devit_iot.cli.devit", python))
    known = known_images()[0]
    bundle = site / "devit_iot" / "demo" / "bundle"
    with FleetProcesses(tmp_path, bundle=bundle, fleet="test") as processes:
        processes.start_broker("mosquitto")
        with watching(processes.url) as viewer:
            for part in range(4):
                processes.start_node(part, python=python)
            processes.start_aggregator("--deadline", "10", python=python)
            wait_until(lambda: len(viewer.online) == 5, START_S)
            viewer.show("porch", known.payload)
            wait_until(lambda: "porch" in viewer.labels, START_S)
        assert viewer.labels["porch"].label == known.class_name
