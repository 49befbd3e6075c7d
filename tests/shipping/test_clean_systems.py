"""A release's wheels on systems where nothing was installed before: `make test-wheels`.

The wheels are those in dist/; what is not there is skipped and said. Systems for 64-bit Arm are
emulated: their figures of time say nothing of a board.
"""

import json
import os
import resource
import time
from pathlib import Path

import pytest

from devit_iot.demo.processes import FleetProcesses
from tests.e2e.watching import known_images, watching
from tests.shipping.clean import download, kernels_found
from tests.shipping.manifests import ROOT
from tests.shipping.systems import System, missing
from tests.support.fleets import wait_until
from tests.support.mosquitto import needs_mosquitto

DIST = ROOT / "dist"
START_S = 900.0  # emulated programs start one after the other where cores are few
GLIBC = range(36, 16, -1)
"""Minor versions of glibc whose wheels run on every system here."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "DEVIT_WHEELS" not in os.environ,
        reason="`make test-wheels` runs this: it needs a release's wheels, and several minutes",
    ),
]


def version_of_wheel(python: str, arch: str) -> str:
    """The version of the release's wheel for one Python and CPU."""
    found = list(DIST.glob(f"*-cp{python.replace('.', '')}-*_{arch}.whl"))
    if not found:
        pytest.skip(f"dist/ has no wheel for CPython {python} on {arch}: make wheels")
    (wheel,) = found
    return wheel.name.split("-")[1]


def cpu_s() -> float:
    """CPU time of all programs that these tests have run."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def installed(suite: str, python: str, arch: str) -> System:
    """A clean system in which a newcomer has installed the demo, from a folder of wheels."""
    version = version_of_wheel(python, arch)
    if reason := missing(arch):
        pytest.skip(reason)
    system = System(suite, arch)
    download(
        f"devit-iot[demo]=={version}", DIST, system.root / "wheels",
        f"--python-version={python}", "--implementation=cp",
        *[f"--platform=manylinux_2_{minor}_{arch}" for minor in GLIBC],
        f"--platform=manylinux2014_{arch}",
    )  # fmt: skip
    begun, used = time.monotonic(), cpu_s()
    system.run("python3", "-m", "venv", "/devit")
    system.run("/devit/bin/pip", "install", "--quiet", "--pre", "--no-index",
               "--find-links=/wheels", "devit-iot[demo]")  # fmt: skip
    took, used = time.monotonic() - begun, cpu_s() - used
    size = system.size("devit") / 2**20
    figures = f"{took:.0f} s, of CPU time {used:.0f} s, {size:.0f} MiB"
    print(f"{suite} {arch}: {figures}")  # noqa: T201 - figures of docs/install.md
    assert system.run("/devit/bin/devit", "--version").split()[-1] == version
    return system


@pytest.mark.parametrize(("suite", "python"), [("bookworm", "3.11"), ("trixie", "3.13")])
def test_debian_makes_labels(suite: str, python: str) -> None:
    system = installed(suite, python, "x86_64")
    assert "float32" in kernels_found(*system.command, "/devit/bin/devit")
    demo = system.run("/devit/bin/devit", "demo", "--count=6", "--rate=2", "--json")
    result = json.loads(demo.splitlines()[-1])
    assert (result["labels"], result["degraded"]) == (6, 0)


@needs_mosquitto
@pytest.mark.parametrize(("suite", "python"), [("bookworm", "3.11"), ("trixie", "3.13")])
def test_an_emulated_board_makes_labels(suite: str, python: str, tmp_path: Path) -> None:
    """All of a fleet is emulated but the broker; the demo's own limits of time are too short."""
    system = installed(suite, python, "aarch64")
    assert "neon" in kernels_found(*system.command, "/devit/bin/devit")
    (found,) = (system.root / "devit").glob("lib/*/site-packages/devit_iot/demo/bundle")
    bundle = Path("/") / found.relative_to(system.root)
    known = known_images()[0]
    names = [*(f"node-{part}" for part in range(4)), "aggregator"]
    wrappers = dict.fromkeys(names, system.command)
    with FleetProcesses(tmp_path, bundle=bundle, fleet="test", wrappers=wrappers) as processes:
        processes.start_broker("mosquitto")
        with watching(processes.url) as viewer:
            for part in range(4):
                processes.start_node(part, python="/devit/bin/python")
            processes.start_aggregator("--deadline", "10", python="/devit/bin/python")

            def ready() -> bool:
                processes.check()
                return len(viewer.online) == len(names)

            wait_until(ready, START_S)
            viewer.show("porch", known.payload)
            wait_until(lambda: "porch" in viewer.labels, START_S)
        label = viewer.labels["porch"]
        assert (label.label, label.parts_used) == (known.class_name, (0, 1, 2, 3))
        assert {status.machine for status in viewer.nodes.values()} == {"aarch64"}
