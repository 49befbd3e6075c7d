"""The demo: a fleet of real processes on this machine, a camera, and what comes of it.

It shows nothing by itself; it can serve the live page.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from devit_iot.bundle.reading import Bundle
from devit_iot.camera.camera import Camera
from devit_iot.camera.source import CameraImage
from devit_iot.config.config import BrokerConfig
from devit_iot.dashboard.server import DashboardServer, PageFacts
from devit_iot.demo.processes import BrokerKind, FleetProcesses
from devit_iot.errors import DevitError
from devit_iot.protocol.label import Label
from devit_iot.protocol.status import AggregatorStatus, NodeStatus, State
from devit_iot.protocol.topics import CAMERA_LEVEL, Topics
from devit_iot.transport.base import Message
from devit_iot.transport.mqtt import MqttTransport
from devit_iot.transport.refusals import Refusal

FLEET = "demo"
_TOPIC = "cameras/demo/image/{request}"
_START_S = 60.0
_LABEL_S = 5.0


class Answer(NamedTuple):
    """One image and the fleet's label of it, or None if none came.

    Attributes:
        truth: the right class.
        latency_ms: time from publishing the image to having the label.
    """

    number: int
    image: CameraImage
    truth: str
    label: Label | None
    latency_ms: float


class Plan(NamedTuple):
    """What the demo is to do.

    Attributes:
        samples: images and their classes; shuffled with ``seed`` and repeated as needed.
        frames: how many images to publish; None: until stopped.
        rate: images per second.
        kill_part: part whose node is killed after ``kill_after`` images, or None. Without a limit
            of frames it comes back after as many more, and so on.
        page: host and port to serve the live page on, or None.
    """

    bundle: Path
    samples: Sequence[tuple[CameraImage, str]]
    frames: int | None
    rate: float
    broker: BrokerKind
    kill_part: int | None
    kill_after: int
    page: tuple[str, int] | None = None
    seed: int = 0


class Summary(NamedTuple):
    """What the demo showed; latencies in ms over the labelled images."""

    frames: int
    labels: int
    accuracy: float
    degraded: int
    p50_ms: float
    p99_ms: float
    latencies_ms: dict[str, float]


class Demo:
    """Runs a :class:`Plan` and reports each answer as it comes.

    Args:
        plan: what to do.
        folder: folder for logs.
        on_answer: called on the network thread for each label.
        on_event: called with a line for people when something starts or dies.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        *,
        on_answer: Callable[[Answer], None],
        on_event: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._on_answer = on_answer
        self._on_event = on_event
        self._topics = Topics(FLEET)
        self._parts = len(Bundle(plan.bundle).manifest.parts)
        self._changed = threading.Condition()
        self._pending: dict[str, tuple[Answer, float]] = {}
        self._answers: list[Answer] = []
        self._online: set[str] = set()
        self._refusal = Refusal()
        self._stopping = threading.Event()
        self._camera: Camera | None = None

    def run(self) -> list[Answer]:
        """Publish every image, wait for its label, and return all answers in order.

        Raises:
            DevitError: a process ended, or the fleet is not online in a minute.
        """
        plan = self._plan
        with FleetProcesses(self._folder, bundle=plan.bundle, fleet=FLEET) as processes:
            self._on_event(f"starting {plan.broker}, {self._parts} nodes and an aggregator")
            processes.start_broker(plan.broker, websocket=plan.page is not None)
            for part in range(self._parts):
                processes.start_node(part)
            processes.start_aggregator()
            watcher = self._watch(processes.url)
            try:
                with self._page(processes.websocket_url):
                    self._wait_online(processes)
                    self._publish(processes)
                    self._wait_labels(processes)
            finally:
                watcher.stop()
        missing = [answer for answer, _ in self._pending.values()]
        return sorted(self._answers + missing)

    def stop(self) -> None:
        """Make :meth:`run` publish no more and return what it has."""
        self._stopping.set()
        if self._camera is not None:
            self._camera.stop()

    @contextmanager
    def _page(self, websocket: str) -> Iterator[None]:
        """Serve the live page inside the block, if it is wanted."""
        if self._plan.page is None:
            yield
            return
        facts = PageFacts(self._topics, (_TOPIC.replace("demo", CAMERA_LEVEL),), websocket)
        server = DashboardServer(*self._plan.page, facts)
        thread = threading.Thread(target=server.run, name="page")
        thread.start()
        self._on_event(f"the live page is at {server.url}")
        try:
            yield
        finally:
            server.stop()
            thread.join()

    def _watch(self, url: str) -> MqttTransport:
        transport = MqttTransport(BrokerConfig(url=url), client_id="devit-demo-viewer")
        transport.subscribe(self._topics.labels, self._on_label)
        transport.subscribe(self._topics.node_statuses, self._on_node)
        transport.subscribe(self._topics.aggregator_status("+"), self._on_aggregator)
        transport.start(on_ready=lambda: None, on_refused=self._refusal)
        return transport

    def _on_node(self, message: Message) -> None:
        if message.is_deletion:
            return
        status = NodeStatus.decode(message.payload)
        self._note(status.node, status.state)

    def _on_aggregator(self, message: Message) -> None:
        if message.is_deletion:
            return
        self._note("aggregator", AggregatorStatus.decode(message.payload).state)

    def _note(self, name: str, state: State) -> None:
        with self._changed:
            if state == "online":
                self._online.add(name)
            else:
                self._online.discard(name)
            self._changed.notify_all()

    def _on_label(self, message: Message) -> None:
        now = time.monotonic()
        if message.retained or message.is_deletion:
            return
        label = Label.decode(message.payload)
        with self._changed:
            answer, published = self._pending.pop(label.request_id, (None, 0.0))
            if answer is None:
                return
            answer = answer._replace(label=label, latency_ms=1e3 * (now - published))
            self._answers.append(answer)
            self._changed.notify_all()
        self._on_answer(answer)

    def _wait_online(self, processes: FleetProcesses) -> None:
        wanted = {f"node-{part}" for part in range(self._parts)} | {"aggregator"}
        deadline = time.monotonic() + _START_S
        with self._changed:
            while not wanted <= self._online and not self._stopping.is_set():
                self._changed.wait(0.2)
                processes.check()
                self._refusal.check()
                if time.monotonic() > deadline:
                    absent = ", ".join(sorted(wanted - self._online))
                    raise DevitError(f"not online after {_START_S:.0f} s: {absent}")
        self._on_event("the fleet is online")

    def _publish(self, processes: FleetProcesses) -> None:
        plan = self._plan
        order = self._order()
        truths: dict[str, str] = {}

        def images() -> Iterator[CameraImage]:
            for number, (image, truth) in enumerate(islice(order, plan.frames)):
                if self._stopping.is_set():
                    return
                self._kill_or_revive(processes, number)
                truths[image.name] = truth
                yield image

        def on_published(image: CameraImage, topic: str) -> None:
            with self._changed:
                number = len(self._pending) + len(self._answers)
                answer = Answer(number, image, truths[image.name], None, 0.0)
                self._pending[topic.rsplit("/", 1)[1]] = (answer, time.monotonic())

        transport = MqttTransport(BrokerConfig(url=processes.url), client_id="devit-demo-camera")
        self._camera = Camera(
            images(), transport, topic=_TOPIC, rate=plan.rate, on_published=on_published
        )
        self._camera.run()

    def _kill_or_revive(self, processes: FleetProcesses, number: int) -> None:
        """Kill the node, or let it come back, if that is due before image ``number``."""
        part, period = self._plan.kill_part, self._plan.kill_after
        turn, rest = divmod(number - period, period or 1)
        if part is None or rest or turn < 0 or (turn > 0 and self._plan.frames is not None):
            return
        if turn % 2 == 0:
            processes.kill(f"node-{part}")
            self._on_event(f"killed the node of part {part}")
        else:
            processes.start_node(part)
            self._on_event(f"started the node of part {part} again")

    def _order(self) -> Iterator[tuple[CameraImage, str]]:
        rng = random.Random(self._plan.seed)
        while True:
            samples = list(self._plan.samples)
            rng.shuffle(samples)
            yield from samples

    def _wait_labels(self, processes: FleetProcesses) -> None:
        """Wait until every image has its label, or none came for five seconds."""
        with self._changed:
            while left := len(self._pending):
                deadline = time.monotonic() + _LABEL_S
                while len(self._pending) == left:  # statuses wake us too
                    if not self._changed.wait(deadline - time.monotonic()):
                        return
        processes.check()


def summarise(answers: Sequence[Answer]) -> Summary:
    """The figures that the demo ends with."""
    labelled = [(answer, answer.label) for answer in answers if answer.label is not None]
    totals = [answer.latency_ms for answer, _ in labelled] or [float("nan")]
    latencies = {
        stage: float(np.median([label.latency_ms[stage] for _, label in labelled]))
        for stage in (labelled[0][1].latency_ms if labelled else ())
    }
    if labelled:
        known = [
            sum(label.latency_ms[stage] for stage in ("wait", "decode", "compute", "fuse"))
            for _, label in labelled
        ]
        rest = np.asarray(totals) - np.asarray(known)
        latencies["transport"] = float(np.median(rest))
    return Summary(
        frames=len(answers),
        labels=len(labelled),
        accuracy=accuracy(answers),
        degraded=sum(label.degraded for _, label in labelled),
        p50_ms=float(np.percentile(totals, 50)),
        p99_ms=float(np.percentile(totals, 99)),
        latencies_ms=latencies,
    )


def accuracy(answers: Sequence[Answer]) -> float:
    """Share of right labels; an image without a label counts as wrong."""
    right = sum(a.label is not None and a.label.label == a.truth for a in answers)
    return right / len(answers) if answers else 0.0
