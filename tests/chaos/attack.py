"""Rubbish on its way: who sends it where, who reads it, and what must come of it."""

import itertools
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from devit_iot.bundle.reading import Bundle
from devit_iot.errors import MessageError
from devit_iot.node.companions import Companions, Seat
from devit_iot.protocol.label import Label
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.transport.base import Message
from tests.chaos.clients import TOPICS, Outside
from tests.chaos.fleet import PARTS
from tests.chaos.rubbish import FINE, TEXTS, Image
from tests.chaos.rubbish_messages import AGGREGATOR_STATUSES, LABELS, Rubbish, features, statuses
from tests.chaos.senders import Sender
from tests.e2e.conftest import DEMO
from tests.support.fleets import image_file

REPLAYS = 5
BUNDLE = Bundle(DEMO / "bundle")
FEATURES = tuple(features(BUNDLE))
STATUSES = tuple(statuses(BUNDLE))
# A broker passes these; it ends the connection of whoever sends control characters.
PASSING = ("bidi", "isolate", "line-separator", "zero-width", "private", "long")
BAD_NODES = (*(TEXTS[name] for name in PASSING), "", "-", "a b", "x" * 65, "é", "$SYS")
NODES = tuple(f"node-{part}" for part in range(PARTS))


class Watcher(Outside):
    """Reads all that we publish, as a screen would, and counts what it refuses."""

    def __init__(self, url: str) -> None:
        self.refused: Counter[str] = Counter()
        self.features: dict[str, bytes] = {}
        super().__init__(url)
        self._transport.subscribe(TOPICS.features("+"), self._on_feature)

    def _on_label(self, message: Message) -> None:
        self._counted(super()._on_label, Label.decode, message)

    def _on_node(self, message: Message) -> None:
        self._counted(super()._on_node, NodeStatus.decode, message)

    def _on_aggregator(self, message: Message) -> None:
        self._counted(super()._on_aggregator, AggregatorStatus.decode, message)

    def _on_feature(self, message: Message) -> None:
        if not message.retained:
            self.features.setdefault(message.topic, message.payload)

    def _counted(
        self, take: Callable[[Message], None], decode: Callable[[bytes], object], message: Message
    ) -> None:
        try:
            decode(message.payload)
            take(message)
        except MessageError as error:
            self.refused[error.reason] += 1


def reason_at_nodes(status: bytes) -> str:
    """Why a node does not believe the status of another one, of which it reads a few fields."""
    try:
        Companions("here", Seat(0, "")).hear("there", status, 0.0)
    except MessageError as error:
        return error.reason
    return ""


class Expected:
    """What every reader must have counted in the end.

    Attributes:
        nodes: reasons at each node, what is said on statuses' topics left out.
        statuses: node of a status' topic, and the reason why other nodes do not believe it.
        fine: images that are images, the honest ones too.
        aggregator: reasons at the aggregator.
        watcher: reasons at whoever reads labels and statuses.
    """

    def __init__(self) -> None:
        self.nodes: Counter[str] = Counter()
        self.statuses: Counter[tuple[str, str]] = Counter()
        self.fine = 0
        self.replayed = 0
        self.aggregator: Counter[str] = Counter()
        self.watcher: Counter[str] = Counter()

    def at(self, node: str) -> Counter[str]:
        """Reasons at one node, which hears of all nodes but itself."""
        heard = Counter(self.nodes)
        for (said_of, reason), count in self.statuses.items():
            if said_of != node:
                heard[reason] += count
        return heard


TOPICS_OF_IMAGES: Mapping[int, Callable[[str], str]] = {
    0: lambda name: f"cameras/{name}/image",
    1: lambda name: f"cameras/{name}/image/{uuid.uuid4().hex}",
    2: lambda name: f"frigate/rubbish/{name}/snapshot",
    3: lambda name: f"kept/{name}/{uuid.uuid4().hex}",
}


def odd_topics() -> Iterator[tuple[str, str]]:
    """Topics of images, and the reason why none on them counts; empty if none comes."""
    request = uuid.uuid4().hex
    for text in (*(TEXTS[name] for name in PASSING), "", "x" * 60_000, "é" * 130):
        yield f"cameras/{text}/image", "camera"
        yield f"kept/{text}/{request}", "camera"
    for text in ("", "00", "g" * 32, request.upper() + "A", request[:31], TEXTS["bidi"], "x" * 999):
        yield f"cameras/door/image/{text}", "request_id"
        yield f"kept/door/{text}", "request_id"
    for topic in (
        "$cameras/door/image",
        "$SYS/door/image",
        "/cameras/door/image",
        "cameras/door/image/a/b",
        "cameras/door",
        "kept/door",
        "/",
        "a/" * 150,
    ):
        yield topic, ""


class Attack:
    """Sends rubbish and says what must come of it."""

    def __init__(self, senders: tuple[Sender, Sender], expected: Expected) -> None:
        self._senders = itertools.cycle(senders)
        self._modern = senders[0]
        self._odd = itertools.cycle((False, True, False))
        self._expected = expected

    def _send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        client = next(self._senders)
        odd = client is self._modern and next(self._odd)
        client.send(topic, payload, retain=retain, odd=odd)

    def image(self, round_: int, number: int, image: Image) -> None:
        """Each round on another topic."""
        topic = TOPICS_OF_IMAGES[(number + round_) % len(TOPICS_OF_IMAGES)]
        self._send(topic(f"rubbish-{round_}-{number}"), image.payload)
        if image.reason == FINE:
            self._expected.fine += 1
        else:
            self._expected.nodes[image.reason] += 1

    def odd_topics(self) -> None:
        for topic, reason in odd_topics():
            self._send(topic, image_file(1))
            if reason:
                self._expected.nodes[reason] += 1

    def features(self) -> None:
        for node, rubbish in zip(itertools.cycle((*NODES, "ghost")), FEATURES, strict=False):
            self._send(TOPICS.feature(0, node), rubbish.payload)
            self._expected.aggregator[rubbish.reason] += 1
        good = FEATURES[0].payload
        for shard in (1, "x", "00", "-1"):  # other aggregators'
            self._send(TOPICS.feature(shard, "node-0"), good)
        for node in BAD_NODES:
            self._send(TOPICS.feature(0, node), good)
            self._expected.aggregator["node"] += 1

    def statuses(self) -> None:
        for node, rubbish in zip(itertools.cycle(("ghost", *NODES)), STATUSES, strict=False):
            if rubbish.reason == "other_bundle":
                node = "ghost"  # noqa: PLW2901 - of a node that lives it would be believed
            self._send(TOPICS.node_status(node), rubbish.payload)
            self._expected.aggregator[rubbish.reason] += 1
            if reason := reason_at_nodes(rubbish.payload):
                self._expected.statuses[node, reason] += 1
            self._watched(rubbish)
        for node in BAD_NODES:
            self._send(TOPICS.node_status(node), STATUSES[-1].payload)
            self._expected.aggregator["node"] += 1
            self._expected.statuses[node, "node"] += 1
            self._expected.watcher[STATUSES[-1].reason] += 1

    def screens(self) -> None:
        """Labels, and what the aggregator's self-test listens to."""
        for rubbish in LABELS:
            self._send(TOPICS.label("door"), rubbish.payload)
            self._watched(rubbish)
        for rubbish in AGGREGATOR_STATUSES:
            self._send(TOPICS.aggregator_status(0), rubbish.payload)
            self._watched(rubbish)

    def _watched(self, rubbish: Rubbish) -> None:
        if rubbish.reason != "other_bundle":  # a screen shows nodes of other bundles
            self._expected.watcher[rubbish.reason] += 1

    def retained(self) -> None:
        """What waits for services that start."""
        for topic in ("cameras/old/image", f"kept/old/{uuid.uuid4().hex}"):
            self._send(topic, b"rubbish", retain=True)
        for node in NODES:
            self._send(TOPICS.feature(0, node), FEATURES[-1].payload, retain=True)
            self._expected.aggregator["retained"] += 1
        for topic in (TOPICS.node_status("node-0"), TOPICS.node_status("ghost")):
            self._send(topic, b"rubbish", retain=True)  # node-0 says better before another starts
            self._expected.aggregator["json"] += 1
            self._expected.watcher["json"] += 1
        self._expected.statuses["ghost", "json"] += 1
        for topic in (TOPICS.label("old"), TOPICS.aggregator_status(0)):
            self._send(topic, b"rubbish", retain=True)
            self._expected.watcher["json"] += 1

    def replays(self, captured: Mapping[str, bytes]) -> None:
        for topic, payload in captured.items():
            for other in (topic, TOPICS.feature(0, "ghost")):
                for _ in range(REPLAYS):
                    self._send(other, payload)
                    self._expected.replayed += 1
