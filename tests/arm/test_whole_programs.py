"""A fleet of emulated boards: devit-node and devit-aggregate as programs, a broker of this machine.

Every node has another CPU, as the boards of a fleet may; one image in, one label out.
"""

import shutil
from pathlib import Path

import pytest

from devit_iot.demo.processes import FleetProcesses
from tests.arm.emulated import emulated_python, get_site, needs_tools
from tests.e2e.conftest import DEMO
from tests.e2e.watching import known_images, watching
from tests.support.fleets import wait_until

NODES = {  # CPU -> the instruction set that it must choose by itself
    "cortex-a53": "neon",
    "cortex-a72": "neon",
    "cortex-a76": "neon_dotprod",
    "max": "neon_i8mm",
}
AGGREGATOR = "cortex-a76"
START_S = 300.0  # they start one after the other where cores are few

pytestmark = [
    needs_tools,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not on PATH"),
]


def test_a_fleet_of_arm_boards_answers(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{tree}:{get_site()}")
    monkeypatch.chdir(tree)  # Python looks there first
    image = known_images()[0]
    with FleetProcesses(tmp_path, bundle=DEMO / "bundle", fleet="test") as processes:
        processes.start_broker("mosquitto")
        with watching(processes.url) as viewer:
            for part, cpu in enumerate(NODES):
                processes.start_node(part, python=str(emulated_python(cpu)))
            processes.start_aggregator("--deadline", "10", python=str(emulated_python(AGGREGATOR)))

            def ready() -> bool:
                processes.check()
                return len(viewer.online) == len(NODES) + 1

            wait_until(ready, START_S)
            viewer.show("porch", image.payload)
            wait_until(lambda: "porch" in viewer.labels, START_S)
        label = viewer.labels["porch"]
        assert (label.label, label.parts_used) == (image.class_name, (0, 1, 2, 3))
        for part, isa in enumerate(NODES.values()):
            status = viewer.nodes[f"node-{part}"]
            assert status.machine == "aarch64"
            assert status.engine == f"native ({isa}, int8, 1 threads)"
        for name in (*viewer.nodes, "aggregator"):
            assert "Traceback" not in processes.log(name)
