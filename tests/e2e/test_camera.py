"""``devit camera --delivery every`` against a real broker that is killed, absent or says no."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devit_iot.camera.camera import MAX_UNACKNOWLEDGED
from devit_iot.demo.processes import FleetProcesses
from devit_iot.programs import own_program
from tests.e2e.subscribing import TOPIC, subscriber
from tests.support.fleets import image_file, wait_until

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto") is None,
    reason="mosquitto is not on PATH: install it to test against it",
)
COUNT = 60
END_S = 60.0


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetProcesses]:
    with FleetProcesses(tmp_path, bundle=tmp_path, fleet="t") as processes:
        yield processes


class Shooting:
    """A running ``devit camera`` with ``--delivery every``."""

    def __init__(self, url: str, folder: Path) -> None:
        (folder / "photo.png").write_bytes(image_file(0))
        (folder / "camera.toml").write_text("[broker]\npersist_s = 2.0\n")
        self._log = folder / "camera.log"
        options = ("--broker", url, "--config", str(folder / "camera.toml"), "--topic", TOPIC)
        shots = ("--rate", "20", "--repeat", "--count", str(COUNT), "--delivery", "every")
        command = [*own_program("devit_iot.cli.devit"), "camera", str(folder)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen([*command, *options, *shots], stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def published(self) -> int:
        return len(re.findall(r"photo\.png -> cameras/line/image/[0-9a-f]{32} ", self.log))


@contextmanager
def shooting(url: str, folder: Path) -> Iterator[Shooting]:
    camera = Shooting(url, folder)
    try:
        yield camera
    finally:
        camera.process.kill()
        camera.process.wait()
        print(camera.log)  # noqa: T201 - shown if the test fails


def test_a_broker_that_is_killed_loses_no_image(fleet: FleetProcesses, tmp_path: Path) -> None:
    """It keeps nothing on a disk: whatever it acknowledged lately must be sent again."""
    fleet.start_broker("mosquitto")
    with subscriber(fleet.url) as topics, shooting(fleet.url, tmp_path) as camera:
        wait_until(lambda: len(topics) > COUNT // 4, END_S)
        fleet.kill("broker")
        wait_until(lambda: camera.published < COUNT and "trying again" in camera.log)
        fleet.start_broker("mosquitto")
        assert camera.process.wait(END_S) == 0
        assert f"the broker acknowledged {COUNT} of {COUNT} images" in camera.log
        wait_until(lambda: len(topics) == COUNT)


def test_it_waits_for_acknowledgements_and_says_what_is_missing(
    fleet: FleetProcesses, tmp_path: Path
) -> None:
    fleet.start_broker("mosquitto")
    with subscriber(fleet.url) as topics, shooting(fleet.url, tmp_path) as camera:
        wait_until(lambda: len(topics) > COUNT // 4, END_S)
        fleet.kill("broker")
        wait_until(lambda: camera.published >= MAX_UNACKNOWLEDGED, END_S)
        os.kill(camera.process.pid, signal.SIGTERM)
        assert camera.process.wait(END_S) == 1
        ends = re.search(r"Error: the broker acknowledged (\d+) of (\d+) images$", camera.log)
        assert ends is not None
        acknowledged, published = map(int, ends.groups())
        assert acknowledged < published == camera.published <= acknowledged + MAX_UNACKNOWLEDGED


def test_it_stays_until_somebody_listens(fleet: FleetProcesses, tmp_path: Path) -> None:
    fleet.start_broker("mosquitto")
    with shooting(fleet.url, tmp_path) as camera:
        # The broker takes none over.
        wait_until(lambda: camera.published == MAX_UNACKNOWLEDGED, END_S)
        with subscriber(fleet.url) as topics:
            assert camera.process.wait(END_S) == 0
            wait_until(lambda: len(topics) == COUNT)


def test_it_ends_where_it_may_not_publish(fleet: FleetProcesses, tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("topic read cameras/#\n")
    root = ["user root"] if os.geteuid() == 0 else []
    fleet.start_broker("mosquitto", f"acl_file {tmp_path}/acl", *root)
    with shooting(fleet.url, tmp_path) as camera:
        assert camera.process.wait(END_S) == 1
        assert re.search(r"acknowledged 0 of \d+ images: .*not authorized$", camera.log)
