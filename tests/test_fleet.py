"""Camera, nodes and aggregator together, over the in-process broker."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from devit_iot.bundle.reading import Bundle
from devit_iot.camera.camera import Camera
from devit_iot.camera.open_source import open_source
from devit_iot.camera.source import CameraImage
from devit_iot.errors import DataError
from devit_iot.evaluation.local import LocalFleet
from devit_iot.protocol.request import request_id
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.fleets import image_file, wait_until
from tests.support.running import labels, make_aggregator, make_node, running


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed in range(4):
        file = tmp_path / f"room{seed % 2}" / f"{seed}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(image_file(seed))
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_labels_are_what_one_process_computes(bundle: Bundle, photos: Path) -> None:
    broker = MemoryBroker()
    nodes = [make_node(broker, bundle, part) for part in range(3)]
    with running(make_aggregator(broker, bundle), *nodes):
        wait_until(lambda: len(broker.retained) == 4)
        for number, file in enumerate(sorted(photos.rglob("*.png"))):
            camera = Camera(
                open_source(str(file), repeat=False),
                MemoryTransport(broker),
                topic=f"cameras/{number}/image",
                rate=1000,
            )
            assert camera.run() == 1
        wait_until(lambda: len(labels(broker)) == 4)
    fleet = LocalFleet(bundle)
    for label in labels(broker):
        file = sorted(photos.rglob("*.png"))[int(label.camera)]
        wanted = fleet.classify(file.read_bytes())
        assert label.label == wanted[0].label
        assert label.confidence == pytest.approx(wanted[0].confidence, abs=2e-3)  # float16 wire
        assert not label.degraded
        assert (
            label.request_id == request_id(f"cameras/{label.camera}/image", file.read_bytes()).hex()
        )


def test_the_camera_numbers_requests_where_the_topic_asks(photos: Path) -> None:
    broker = MemoryBroker()
    source = islice(open_source(str(photos), repeat=True), 6)
    seen: list[CameraImage] = []
    camera = Camera(
        source,
        MemoryTransport(broker),
        topic="cameras/desk/image/{request}",
        rate=float("inf"),
        on_published=lambda shot, _topic: seen.append(shot),
    )
    assert camera.run() == 6
    topics = [topic for topic, _ in broker.log]
    assert len(set(topics)) == 6
    assert all(len(topic.rsplit("/", 1)[1]) == 32 for topic in topics)
    assert seen[:2] == seen[4:]  # repeated from the start
    assert [payload for _, payload in broker.log] == [shot.payload for shot in seen]


@pytest.mark.parametrize("source", ["nowhere.png", "nowhere.mp4"])
def test_a_source_that_is_not_there(tmp_path: Path, source: str) -> None:
    with pytest.raises(DataError):
        next(open_source(str(tmp_path / source), repeat=False))


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image"):
        open_source(str(tmp_path), repeat=False)


def test_a_video_becomes_jpeg_frames(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="video needs the 'camera' extra")
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 24))
    for level in (0, 100, 200):
        writer.write(np.full((24, 32, 3), level, np.uint8))
    writer.release()
    shots = list(open_source(str(path), repeat=False))
    assert len(shots) == 3
    assert all(shot.payload.startswith(b"\xff\xd8") for shot in shots)
