"""Four nodes and an aggregator as processes: labels, kills, restarts, rubbish."""

import time

import pytest

from devit_iot.demo.processes import BrokerKind, FleetProcesses
from tests.e2e.watching import Viewer, known_images, watching
from tests.support.fleets import huge_jpeg, wait_until

KNOWN = known_images()


def start(processes: FleetProcesses, kind: BrokerKind) -> None:
    processes.start_broker(kind)
    for part in range(4):
        processes.start_node(part)
    processes.start_aggregator()


def accuracy(viewer: Viewer, batch: str, count: int = 20) -> float:
    right = 0
    for number, image in enumerate(KNOWN[:: len(KNOWN) // count][:count]):
        label = viewer.ask(f"{batch}-{number}", image.payload)
        right += label.label == image.class_name
    return right / count


def test_a_fleet_lives_through_everything(processes: FleetProcesses, kind: BrokerKind) -> None:
    start(processes, kind)
    with watching(processes.url) as viewer:
        viewer.wait_online()
        assert accuracy(viewer, "whole") >= 0.95
        assert not any(label.degraded for label in viewer.labels.values())

        processes.kill("node-1")  # a power cut: the will speaks for it
        wait_until(lambda: "node-1" not in viewer.online)
        assert accuracy(viewer, "degraded") >= 0.6
        assert viewer.labels["degraded-0"].parts_used == (0, 2, 3)

        processes.start_node(1)
        viewer.wait_online()
        assert not viewer.ask("again", KNOWN[0].payload).degraded

        processes.kill("aggregator")
        wait_until(lambda: "aggregator" not in viewer.online)
        processes.start_aggregator()
        viewer.wait_online()
        assert not viewer.ask("fused-again", KNOWN[1].payload).degraded

        for name in ("node-0", "aggregator"):
            assert processes.terminate(name) == 0
        wait_until(lambda: viewer.online == {"node-1", "node-2", "node-3"})


def test_a_broker_may_die_and_come_back(processes: FleetProcesses, kind: BrokerKind) -> None:
    start(processes, kind)
    with watching(processes.url) as viewer:
        viewer.wait_online()
        viewer.ask("before", KNOWN[0].payload)
        processes.kill("broker")
        viewer.nodes.clear()
        viewer.aggregator = None
        time.sleep(0.5)  # everyone has noticed by then, and waits
        processes.start_broker(kind)
        viewer.wait_online()
        label = viewer.ask("after", KNOWN[0].payload)
    assert label.label == KNOWN[0].class_name
    assert not label.degraded


RUBBISH = [b"", b"\x00" * 1000, huge_jpeg(), b'{"image": 7}', b"no image at all"]


def test_rubbish_on_the_wire_harms_nobody(processes: FleetProcesses, kind: BrokerKind) -> None:
    start(processes, kind)
    with watching(processes.url) as viewer:
        viewer.wait_online()
        rubbish = [*RUBBISH, KNOWN[0].payload[:50]]
        said = sum(map(bool, rubbish))  # an empty image or status is a deletion
        for number, payload in enumerate(rubbish):
            viewer.show(f"bad-{number}", payload)
            publish = viewer.transport.publish
            publish("devit/v1/test/features/0/node-9", payload)
            publish("devit/v1/test/nodes/node-9/status", payload)
        label = viewer.ask("good", KNOWN[0].payload)
        assert label.label == KNOWN[0].class_name
        assert not label.degraded
        heard = 2 * said  # images, and statuses of another node
        wait_until(lambda: sum(viewer.nodes["node-0"].refused.values()) == heard)
        refused = said + len(rubbish)  # statuses and features
        wait_until(lambda: viewer.aggregator and sum(viewer.aggregator.refused.values()) == refused)
    assert len(processes.log("node-0").splitlines()) < 20


@pytest.mark.parametrize("copies", [30])
def test_every_image_of_many_cameras_gets_its_label(
    processes: FleetProcesses, kind: BrokerKind, copies: int
) -> None:
    start(processes, kind)
    with watching(processes.url) as viewer:
        viewer.wait_online()
        for number in range(copies):
            viewer.show(f"cam-{number}", KNOWN[number].payload)
        wait_until(lambda: len(viewer.labels) == copies)
        assert viewer.count == copies
