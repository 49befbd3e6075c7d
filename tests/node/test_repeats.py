"""Images that look like the one before: when the node computes them, and what answers if not."""

import io
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.storage import Dtype
from devit_iot.config.config import Delivery, ImagesConfig
from devit_iot.engine.base import Engine, load_engine
from devit_iot.node.computing import Served
from devit_iot.node.repeats import MAX_REMEMBERED, Repeats, Shown, colours
from devit_iot.protocol.crop import CameraCrops, CropOrder, CropPlan
from devit_iot.protocol.request import request_id
from devit_iot.protocol.status import NodeStatus
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.engines import BrokenEngine
from tests.support.fleets import make_bundle, wait_until
from tests.support.running import TOPICS, features, make_node, node_status, running

pytestmark = pytest.mark.usefixtures("prompt_status")

DOOR, GATE = "cameras/door/image", "cameras/gate/image"
GREY = (100, 100, 100)
CHANGE = 0.02  # five of 255 steps


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


class Counting:
    """A real engine that counts what it computes."""

    name = "counting"
    dtype: Dtype = "float32"
    detail = ""

    def __init__(self, bundle: Bundle, part: int = 0) -> None:
        self.calls = 0
        self._engine = load_engine(bundle.read_part(part), threads=1)

    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.calls += 1
        return self._engine.features(image)


def picture(colour: tuple[int, int, int], number: int = 0, *, kind: str = "PNG") -> bytes:
    """A file of one colour; ``number`` is in one pixel, so that files differ."""
    image = Image.new("RGB", (40, 32), colour)
    image.putpixel((0, 0), (colour[0], colour[1], (colour[2] + number) % 256))
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def grey(level: int) -> bytes:
    return picture((level, level, level))


def cameras(change: float = CHANGE, delivery: Delivery = "latest") -> tuple[ImagesConfig, ...]:
    return (ImagesConfig("cameras/{camera}/image", change=change, delivery=delivery),)


def show(broker: MemoryBroker, *files: bytes, topic: str = DOOR) -> None:
    """Publish files one after the other, each when the one before it has its feature."""
    wait_until(lambda: TOPICS.node_status("node-0") in broker.retained)
    for file in files:
        wanted = len(features(broker)) + 1
        broker.publish(topic, file, qos=1)
        wait_until(partial(has_features, broker, wanted))


def has_features(broker: MemoryBroker, count: int) -> bool:
    return len(features(broker)) >= count


def refusals(broker: MemoryBroker) -> int:
    return sum(node_status(broker).refused.values())


def test_each_image_is_computed_unless_told_otherwise(broker: MemoryBroker, bundle: Bundle) -> None:
    engine = Counting(bundle)
    with running(make_node(broker, bundle, 0, engine=engine)):
        show(broker, picture(GREY), picture(GREY, 1))
        wait_until(lambda: node_status(broker).published == 2)
    assert engine.calls == 2
    assert node_status(broker).repeated == 0


@pytest.mark.parametrize("delivery", ["latest", "every"])
def test_an_image_that_looks_the_same_is_answered_from_memory(
    broker: MemoryBroker, bundle: Bundle, delivery: Delivery
) -> None:
    engine, transport = Counting(bundle), MemoryTransport(broker)
    images = cameras(delivery=delivery)
    node = make_node(broker, bundle, 0, engine=engine, images=images, transport=transport)
    first, second = picture(GREY), picture(GREY, 9)
    with running(node):
        show(broker, first, second)
        wait_until(lambda: node_status(broker).repeated == 1)
        wait_until(lambda: not transport.unacknowledged)
    assert engine.calls == 1
    one, other = features(broker)
    assert [one.request_id, other.request_id] == [request_id(DOOR, f) for f in (first, second)]
    np.testing.assert_array_equal(one.values, other.values)
    assert (node_status(broker).published, node_status(broker).unfinished) == (2, 0)
    counts = {name: of.histogram.buckets[-1][1] for name, of in node.durations.items()}
    assert counts == {"wait": 2, "decode": 2, "compute": 1}


def test_alternating_images_are_computed(broker: MemoryBroker, bundle: Bundle) -> None:
    engine = Counting(bundle)
    with running(make_node(broker, bundle, 0, engine=engine, images=cameras())):
        show(broker, grey(100), grey(110), grey(100), grey(110))
    assert engine.calls == 4


def test_a_slow_drift_is_computed_when_it_adds_up(broker: MemoryBroker, bundle: Bundle) -> None:
    engine = Counting(bundle)
    with running(make_node(broker, bundle, 0, engine=engine, images=cameras())):
        show(broker, *(grey(level) for level in range(100, 115)))
    assert engine.calls == 3  # at 100, 106 and 112


@pytest.mark.parametrize(
    "other", [(100, 106, 94), (106, 100, 100), (110, 110, 110)], ids=["hue", "red", "light"]
)
def test_another_colour_is_computed(
    broker: MemoryBroker, bundle: Bundle, other: tuple[int, int, int]
) -> None:
    engine = Counting(bundle)
    with running(make_node(broker, bundle, 0, engine=engine, images=cameras())):
        show(broker, picture(GREY), picture(other))
    assert engine.calls == 2


def test_a_broken_image_in_between_changes_nothing(broker: MemoryBroker, bundle: Bundle) -> None:
    engine, whole = Counting(bundle), picture(GREY, kind="JPEG")
    images = cameras(delivery="every")
    with running(make_node(broker, bundle, 0, engine=engine, images=images)):
        show(broker, whole)
        for broken in (whole[:-200], b"hello, this is a camera", whole[:3]):
            broker.publish(DOOR, broken, qos=1)
        wait_until(lambda: refusals(broker) == 3)
        show(broker, picture(GREY, 1, kind="JPEG"))
    assert engine.calls == 1
    assert len(features(broker)) == 2


def test_cameras_have_a_memory_each(broker: MemoryBroker, bundle: Bundle) -> None:
    engine = Counting(bundle)
    with running(make_node(broker, bundle, 0, engine=engine, images=cameras())):
        for number in range(3):
            show(broker, picture(GREY, number))
            show(broker, picture((200, 200, 200), number), topic=GATE)
    assert engine.calls == 2
    door, gate = ([f for f in features(broker) if f.camera == name] for name in ("door", "gate"))
    assert len(door) == len(gate) == 3
    assert not np.array_equal(door[-1].values, gate[-1].values)


def test_another_bundle_computes_anew(
    broker: MemoryBroker, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = make_bundle(tmp_path_factory.mktemp("other") / "bundle", seed=7)
    before, after = Counting(bundle), Counting(other)
    node = make_node(broker, bundle, 0, engine=before, images=cameras())
    with running(node):
        show(broker, picture(GREY), picture(GREY, 1))
        node.serve(served(other, 0, after))
        show(broker, picture(GREY, 2), picture(GREY, 3))
        node.serve(served(other, 1, Counting(other, 1)))
        show(broker, picture(GREY, 4))
    assert (before.calls, after.calls) == (1, 1)
    said = features(broker)
    assert [f.fingerprint == other.fingerprint for f in said] == [False, False, True, True, True]
    assert [f.part for f in said] == [0, 0, 0, 0, 1]
    assert not np.array_equal(said[1].values, said[2].values)
    assert len(said[4].values) == other.part(1).spec.feature_dim


def served(bundle: Bundle, part: int, engine: Engine) -> Served:
    identity = NodeStatus(
        state="online",
        node="node-0",
        part=part,
        parts=len(bundle.manifest.parts),
        fingerprint=bundle.manifest.fingerprint,
    )
    return Served(identity, bundle.part(part).spec, engine)


def test_each_rectangle_has_a_memory_of_its_own(broker: MemoryBroker, bundle: Bundle) -> None:
    engine = Counting(bundle)
    left, right = (CropOrder(x, 0, 2**15 - 1, 2**16 - 1) for x in (0, 2**15))

    def plan(*crops: CropOrder, whole: bool) -> None:
        orders = CropPlan(cameras={"door": CameraCrops(whole=whole, crops=crops)})
        broker.publish(TOPICS.crops, orders.encode(), retain=True)

    with running(make_node(broker, bundle, 0, engine=engine, images=cameras())):
        plan(left, whole=True)
        wait_until(lambda: TOPICS.node_status("node-0") in broker.retained)
        broker.publish(DOOR, picture(GREY), qos=1)
        wait_until(lambda: len(features(broker)) == 2)
        broker.publish(DOOR, picture(GREY, 1), qos=1)
        wait_until(lambda: len(features(broker)) == 4)
        assert engine.calls == 2
        plan(right, whole=False)
        show(broker, picture(GREY, 2), picture(GREY, 3))
        wait_until(lambda: node_status(broker).repeated == 3)
    assert engine.calls == 3


def test_what_failed_is_not_repeated(broker: MemoryBroker, bundle: Bundle) -> None:
    engine = BrokenEngine(bundle.part(0).spec.feature_dim)
    with running(make_node(broker, bundle, 0, engine=engine, images=cameras())):
        wait_until(lambda: TOPICS.node_status("node-0") in broker.retained)
        broker.publish(DOOR, picture(GREY), qos=1)
        wait_until(lambda: node_status(broker).lost == 1)
        broker.publish(DOOR, picture(GREY, 1), qos=1)
        wait_until(lambda: node_status(broker).refused == {"not_finite": 1})
        show(broker, picture(GREY, 2), picture(GREY, 3))
        wait_until(lambda: node_status(broker).repeated == 1)
    assert len(features(broker)) == 2


@pytest.mark.parametrize("side", [1, 4, 8, 13, 40, 224])
def test_colours_are_the_means_of_the_fields(side: int) -> None:
    square = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    fields = min(8, side)
    edges = [side * n // fields for n in range(fields + 1)]
    wanted = [
        [square[top:low, left:right].mean((0, 1)) / 255 for left, right in pairwise(edges)]
        for top, low in pairwise(edges)
    ]
    np.testing.assert_allclose(colours(square), wanted, atol=1e-6)


def test_the_rectangle_that_was_not_asked_for_longest_is_forgotten() -> None:
    repeats, fields, values = Repeats(), np.zeros((8, 8, 3), np.float32), np.ones(3, np.float32)

    def shown(number: int) -> Shown:
        return Shown(str(number), None, "f", 0)

    for number in range(MAX_REMEMBERED):
        repeats.keep(shown(number), fields, values)
    assert repeats.recall(shown(0), fields, CHANGE) is values
    repeats.keep(shown(MAX_REMEMBERED), fields, values)
    assert repeats.recall(shown(0), fields, CHANGE) is values
    assert repeats.recall(shown(1), fields, CHANGE) is None


@pytest.mark.parametrize("change", [-0.1, 1.0, float("nan"), float("inf")])
def test_a_change_is_a_share(change: float) -> None:
    wrong = [
        words for holds, words in ImagesConfig("x/{camera}", change=change).rules() if not holds
    ]
    assert wrong == ["images: change must be 0 to below 1"]
