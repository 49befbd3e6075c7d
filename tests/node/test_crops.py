"""Crops: nodes compute rectangles as images of their own, and all the same ones."""

import io
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import Config, ImagesConfig
from devit_iot.config.crops import CropConfig
from devit_iot.engine.base import load_engine
from devit_iot.engine.image import load_image
from devit_iot.protocol.crop import CameraCrops, Crop, CropOrder, CropPlan
from devit_iot.protocol.label import Label
from devit_iot.protocol.request import request_id
from devit_iot.transport.memory import MemoryBroker
from tests.support.features import PARTS, make_feature
from tests.support.fleets import image_file, wait_until
from tests.support.heads import write_random
from tests.support.running import (
    TOPICS,
    aggregator_status,
    features,
    labels,
    listen,
    make_aggregator,
    make_node,
    node_status,
    running,
)

DOOR = "cameras/door/image"
CORNER = Crop.of(0.5, 0.25, 0.5, 0.75)
WHOLE_AND_CORNER = CropPlan(cameras={"door": CameraCrops(crops=(CropOrder(*CORNER),))})
PICTURE = image_file(5, size=(80, 64))


def tell(broker: MemoryBroker, plan: CropPlan) -> None:
    broker.publish(TOPICS.crops, plan.encode(), retain=True)


def test_a_crop_is_an_image_of_its_own(bundle: Bundle) -> None:
    """It has the feature of the cut picture, and a request id that follows from the image's."""
    broker = MemoryBroker()
    tell(broker, WHOLE_AND_CORNER)
    with running(make_node(broker, bundle, 0)):
        wait_until(lambda: TOPICS.node_status("node-0") in broker.retained)
        broker.publish(DOOR, PICTURE)
        wait_until(lambda: len(features(broker)) == 2)
    whole, corner = features(broker)
    image = request_id(DOOR, PICTURE)
    assert (whole.request_id, whole.crop) == (image, None)
    assert (corner.request_id, corner.crop) == (CORNER.request_id(image), CORNER)
    cut = io.BytesIO()
    Image.open(io.BytesIO(PICTURE)).crop((40, 16, 80, 64)).save(cut, "PNG")
    part = bundle.read_part(0)
    wanted = load_engine(part, threads=1).features(load_image(cut.getvalue(), part.spec))
    assert np.array_equal(corner.values, wanted.astype(np.float16))
    assert node_status(broker).refused == {}


def test_a_large_jpeg_is_decoded_finely_enough_for_its_crop(bundle: Bundle) -> None:
    """A small thing in a large picture is seen: a reduced scale of the whole would blur it."""
    spec = bundle.part(0).spec
    fine = np.zeros((1600, 1600, 3), np.uint8)
    fine[800:864, 800:864] = 255
    file = io.BytesIO()
    Image.fromarray(fine).save(file, "JPEG", quality=95)
    seen = load_image(file.getvalue(), spec, crop=Crop.of(0.5, 0.5, 0.04, 0.04))
    assert seen.min() > 250
    assert load_image(file.getvalue(), spec).min() < 5


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"{", "json"),
        (b'{"version":2}', "version"),
        (b'{"cameras":{"a":{"crops":[{"x":0,"y":0,"w":0,"h":9}]}}}', "crop"),
        (b'{"cameras":{"a":{"crops":[{"x":65535,"y":0,"w":1,"h":9}]}}}', "crop"),
        (b'{"cameras":{"a":{"crops":[{"x":-1,"y":0,"w":9,"h":9}]}}}', "crop"),
        (b'{"cameras":{"a":{"crops":[{"x":0,"y":0,"w":70000,"h":9}]}}}', "crop"),
        (b'{"cameras":{"a":{"crops":[{"x":0,"y":0,"w":9,"h":9,"one_in":0}]}}}', "crop"),
        (
            b'{"cameras":{"a":{"crops":['
            + b'{"x":0,"y":0,"w":9,"h":9},' * 8
            + b'{"x":0,"y":0,"w":9,"h":9}]}}}',
            "crop",
        ),
        (b'{"cameras":{' + b",".join(b'"%d":{}' % n for n in range(257)) + b"}}", "crop"),
        (b" " * 70000, "too_large"),
        (b'{"cameras":{"\\u001b":{}}}', "text"),
    ],
)
def test_a_hostile_plan_is_refused_and_the_one_before_holds(
    bundle: Bundle, message: bytes, reason: str
) -> None:
    broker = MemoryBroker()
    tell(broker, WHOLE_AND_CORNER)
    with running(make_node(broker, bundle, 0)):
        wait_until(lambda: TOPICS.node_status("node-0") in broker.retained)
        broker.publish(TOPICS.crops, message, retain=True)
        broker.publish(DOOR, PICTURE)
        wait_until(lambda: len(features(broker)) == 2)
        wait_until(lambda: node_status(broker).refused == {reason: 1})


def test_without_a_plan_whole_images_are_computed(bundle: Bundle) -> None:
    broker = MemoryBroker()
    tell(broker, WHOLE_AND_CORNER)
    with running(make_node(broker, bundle, 0)):
        wait_until(lambda: TOPICS.node_status("node-0") in broker.retained)
        broker.publish(TOPICS.crops, b"", retain=True)
        broker.publish(DOOR, PICTURE)
        wait_until(lambda: features(broker))
        broker.publish("cameras/hall/image", PICTURE)
        wait_until(lambda: len(features(broker)) == 2)
    assert [feature.crop for feature in features(broker)] == [None, None]


def test_every_node_computes_the_same_one_in_four() -> None:
    """It follows from the request id, so no clock and no word between nodes is needed."""
    one_in_four = CameraCrops(whole=False, crops=(CropOrder(*CORNER, one_in=4),))
    images = [request_id(DOOR, bytes([n % 256, n // 256])) for n in range(2000)]
    chosen = [image for image in images if one_in_four.wanted(image)]
    assert chosen == [image for image in images if one_in_four.wanted(image)]
    assert 400 < len(chosen) < 600
    assert all(CameraCrops(whole=True).wanted(image) == [(image, None)] for image in images)


def test_an_image_of_every_is_acknowledged_when_all_of_its_crops_are_through(
    bundle: Bundle,
) -> None:
    broker = MemoryBroker()
    tell(broker, WHOLE_AND_CORNER)
    broker.acknowledging = False
    node = make_node(broker, bundle, 0, images=(ImagesConfig(DOOR, delivery="every"),))
    name = "cameras-door-image"
    tell(broker, CropPlan(cameras={name: WHOLE_AND_CORNER.cameras["door"]}))
    with running(node):
        wait_until(lambda: TOPICS.node_status("node-0") in broker.retained)
        broker.publish(DOOR, PICTURE, qos=1)
        wait_until(lambda: len(features(broker)) == 2)
        wait_until(lambda: node_status(broker).unfinished == 1)
        broker.acknowledge_all()
        wait_until(lambda: node_status(broker).unfinished == 0)


def test_an_image_of_which_nothing_is_wanted_is_acknowledged(bundle: Bundle) -> None:
    broker = MemoryBroker()
    tell(broker, CropPlan(cameras={"*": CameraCrops(whole=False)}))
    node = make_node(broker, bundle, 0, images=(ImagesConfig(DOOR, delivery="every"),))
    with running(node):
        wait_until(lambda: TOPICS.node_status("node-0") in broker.retained)
        broker.publish(DOOR, PICTURE, qos=1)
        wait_until(lambda: node_status(broker).received == 1)
        wait_until(lambda: node_status(broker).unfinished == 0)
    assert features(broker) == []


@pytest.fixture
def taught(bundle: Bundle, tmp_path: Path) -> Bundle:
    own = Bundle(Path(shutil.copytree(bundle.path, tmp_path / "bundle")))
    write_random(own, "gate", 0)
    return own


CONFIG = Config(
    heads={"door": ("gate", "default")},
    crops={"door": {"gate": CropConfig(0.5, 0.25, 0.5, 0.75)}},
)


def test_a_head_answers_from_its_crop_and_the_others_from_the_image(taught: Bundle) -> None:
    broker = MemoryBroker()
    listen(broker, "#")
    nodes = [make_node(broker, taught, part) for part in range(PARTS)]
    with running(make_aggregator(broker, taught, heads=CONFIG), *nodes):
        wait_until(lambda: TOPICS.crops in broker.retained)
        wait_until(
            lambda: all(TOPICS.node_status(f"node-{p}") in broker.retained for p in range(PARTS))
        )
        broker.publish(DOOR, PICTURE)
        wait_until(lambda: len(labels(broker)) == 2)
    main = Label.decode(broker.retained[TOPICS.label("door")])
    other = Label.decode(broker.retained[TOPICS.head_label("door", "default")])
    image = request_id(DOOR, PICTURE)
    assert (main.head, main.request_id) == ("gate", CORNER.request_id(image).hex())
    assert (other.head, other.request_id) == ("default", image.hex())
    assert (main.degraded, other.degraded) == (False, False)


def test_a_node_that_missed_the_plan_is_missing_in_the_label_of_the_crop(taught: Bundle) -> None:
    """Its whole image is answered by whoever looks at that, and no label mixes the two."""
    broker = MemoryBroker()
    only_gate = Config(heads={"door": ("gate",)}, crops=CONFIG.crops)
    with running(make_aggregator(broker, taught, heads=only_gate, deadline_s=0.3)):
        wait_until(lambda: TOPICS.crops in broker.retained)
        image = request_id(DOOR, PICTURE)
        for part in range(PARTS):
            crop = CORNER if part < 2 else None
            feature = msgspec.structs.replace(
                make_feature(taught, part),
                request_id=image if crop is None else crop.request_id(image),
                crop=crop,
            )
            broker.publish(TOPICS.feature(0, f"node-{part}"), feature.encode())
        wait_until(lambda: labels(broker))
        wait_until(lambda: aggregator_status(broker).refused == {"crop": 1})
    (label,) = labels(broker)
    assert (label.head, label.parts_used, label.degraded) == ("gate", (0, 1), True)
