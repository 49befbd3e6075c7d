"""A broker that lets nobody announce anything to Home Assistant: the fleet serves as before."""

import os
import shutil
from pathlib import Path

import pytest

from devit_iot.demo.processes import FleetProcesses
from devit_iot.homeassistant.devices import device_id
from devit_iot.protocol.topics import DiscoveryTopics
from tests.e2e.watching import IMAGES, watching
from tests.support.fleets import wait_until

RIGHTS = "topic readwrite devit/#\ntopic readwrite cameras/#\ntopic read homeassistant/#\n"


@pytest.mark.parametrize("denied", [True, False])
def test_announcements_that_are_denied_harm_nothing(
    processes: FleetProcesses,
    tmp_path: Path,
    denied: bool,  # noqa: FBT001
) -> None:
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not on PATH: install it to test against it")
    rights = tmp_path / "acl"
    rights.write_text(RIGHTS if denied else RIGHTS + "topic write homeassistant/device/+/config\n")
    rights.chmod(0o600)
    user = ["user root"] if os.geteuid() == 0 else []
    processes.start_broker("mosquitto", f"acl_file {rights}", *user)
    processes.start_node(0)
    processes.start_aggregator()
    announced: list[str] = []
    with watching(processes.url, DiscoveryTopics().devices, announced.append) as viewer:
        viewer.wait_online(1)
        assert viewer.ask("door", IMAGES[0].payload).parts_used == (0,)
        if not denied:
            camera = DiscoveryTopics().device(device_id("test", "camera", "door"))
            wait_until(lambda: camera in announced, 60)
        wait_until(lambda: viewer.aggregator is not None and viewer.aggregator.labels > 0, 60)
        assert viewer.aggregator is not None
        assert (viewer.aggregator.problem, viewer.aggregator.unsent) == ("", 0)
    assert bool(announced) != denied
    processes.check()
