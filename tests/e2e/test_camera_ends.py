"""How ``devit camera`` ends: after a stream, after mistakes, after photos that are too large."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devit_iot.demo.processes import FleetProcesses
from devit_iot.programs import own_program
from tests.e2e.subscribing import TOPIC, subscriber
from tests.support.camera_server import CameraServer
from tests.support.fleets import image_file, wait_until

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto") is None,
    reason="mosquitto is not on PATH: install it to test against it",
)
END_S = 60.0
NOWHERE = "mqtt://127.0.0.1:9"
JPEG = image_file(1, kind="JPEG", size=(160, 120))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetProcesses]:
    with FleetProcesses(tmp_path, bundle=tmp_path, fleet="t") as processes:
        yield processes


@pytest.fixture
def camera() -> Iterator[CameraServer]:
    pytest.importorskip("cv2", reason="streams need the 'camera' extra: OpenCV is not installed")
    with CameraServer(lambda: JPEG) as server:
        yield server


def command(source: object, url: str, *options: str) -> list[str]:
    topic = () if "--topic" in options else ("--topic", "cameras/x/image")
    program = (*own_program("devit_iot.cli.devit"), "camera", str(source))
    return [*program, "--broker", url, *topic, *options]


def run(source: object, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(source, url, *options), capture_output=True, text=True, timeout=END_S, check=False
    )


@needs_mosquitto
@pytest.mark.parametrize("rate", ["10", "1000"])
def test_a_stream_ends_after_its_last_image(
    fleet: FleetProcesses, camera: CameraServer, rate: str
) -> None:
    fleet.start_broker("mosquitto")
    for _ in range(3):
        done = run(f"{camera.url}/stream", fleet.url, "--rate", rate, "--count", "3")
        assert (done.returncode, done.stderr.count(" -> ")) == (0, 3), done.stderr


@needs_mosquitto
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_is_ended_by_a_signal(
    fleet: FleetProcesses, camera: CameraServer, number: int, tmp_path: Path
) -> None:
    fleet.start_broker("mosquitto")
    log = tmp_path / "camera.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command(f"{camera.url}/stream", fleet.url, "--rate", "20"), stderr=file
        )
    try:
        wait_until(lambda: log.read_text().count(" -> ") > 2, END_S)
        process.send_signal(number)
        assert process.wait(END_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert "terminate" not in log.read_text()


def test_a_stream_whose_broker_is_wrong_ends_too(camera: CameraServer) -> None:
    done = run(f"{camera.url}/stream", "http://127.0.0.1")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")


@pytest.mark.parametrize("topic", ["", "cameras/+/image", "cameras/#", "cameras/\n/image"])
def test_a_topic_that_cannot_be_is_refused_in_one_line(topic: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    done = run(tmp_path, NOWHERE, "--topic", topic)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: topic '")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://me:s3cr3t#x@127.0.0.1:9/x",
        "rtsp://me:x@s3cr3t/x@127.0.0.1:9/x",
        "http://me:s3cr3t/x@127.0.0.1:9/x",
        "http://127.0.0.1:9/x?usr=me&pwd=s3cr3t",
        "rtsp://127.0.0.1:9/x?token=s3cr3t",
    ],
)
def test_no_password_reaches_the_terminal(source: str) -> None:
    """OpenCV's own words are in there too."""
    pytest.importorskip("cv2", reason="streams need the 'camera' extra: OpenCV is not installed")
    done = run(source, NOWHERE)
    assert done.returncode == 1
    assert "s3cr3t" not in done.stdout + done.stderr
    assert done.stderr.startswith("Error: cannot open ") or "is no URL" in done.stderr


@needs_mosquitto
def test_a_photo_that_the_broker_does_not_take_costs_itself(
    fleet: FleetProcesses, tmp_path: Path
) -> None:
    fleet.start_broker("mosquitto", "max_packet_size 20000")
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in (("a", 0), ("b", 30_000), ("c", 0)):
        (folder / f"{name}.jpg").write_bytes(JPEG + bytes(size))
    done = run(folder, fleet.url, "--rate", "50")
    assert done.returncode == 0
    assert "1 of 3 images were left out; --size makes" in done.stderr
    with subscriber(fleet.url) as topics:
        (tmp_path / "camera.toml").write_text("[broker]\npersist_s = 0.5\n")
        every = ("--delivery", "every", "--topic", TOPIC, "--config", f"{tmp_path}/camera.toml")
        done = run(folder, fleet.url, "--rate", "50", *every)
        wait_until(lambda: len(topics) == 2)
    assert done.returncode == 1
    assert "1 of 3 images were left out, 2 acknowledged" in done.stderr
    done = run(folder / "b.jpg", fleet.url)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
