"""When an aggregator tells the nodes of crops."""

import pytest

from devit_iot.aggregator.crop_plan import CropPlanner
from devit_iot.config.config import Config
from devit_iot.config.crops import CropConfig
from devit_iot.errors import MessageError
from devit_iot.protocol.crop import Crop, CropPlan
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.support.running import TOPICS

GATE = Config(
    heads={"door": ("gate",)}, crops={"door": {"gate": CropConfig(0.5, 0.25, 0.5, 0.75)}}
).head_choice.plan()


def connected(broker: MemoryBroker, plan: CropPlan) -> CropPlanner:
    transport = MemoryTransport(broker)
    planner = CropPlanner(lambda: plan, transport, TOPICS)
    transport.start(on_ready=planner.connected, on_refused=lambda _: None)
    planner.refresh()
    planner.refresh()
    return planner


def test_a_fleet_without_crops_says_nothing() -> None:
    broker = MemoryBroker()
    connected(broker, CropPlan())
    assert broker.log == []


def test_the_plan_is_retained_and_said_once_on_each_connection() -> None:
    broker = MemoryBroker()
    connected(broker, GATE)
    assert len(broker.log) == 1
    assert CropPlan.decode(broker.retained[TOPICS.crops]) == GATE
    (order,) = GATE.of("door").crops
    assert order.crop == Crop.of(0.5, 0.25, 0.5, 0.75)


@pytest.mark.parametrize("before", [GATE.encode(), b"rubbish"])
def test_a_plan_that_holds_no_more_is_taken_back(before: bytes) -> None:
    broker = MemoryBroker()
    broker.publish(TOPICS.crops, before, retain=True)
    connected(broker, CropPlan())
    assert CropPlan.decode(broker.retained[TOPICS.crops]) == CropPlan()


class RefusingTransport(MemoryTransport):
    """A broker that takes no message of such a size."""

    def publish(self, *_: object, **__: object) -> None:
        raise MessageError("packet_size", "too long for this broker")


def test_a_plan_that_the_broker_does_not_take_is_said_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = RefusingTransport(MemoryBroker())
    planner = CropPlanner(lambda: GATE, transport, TOPICS)
    transport.start(on_ready=planner.connected, on_refused=lambda _: None)
    planner.refresh()
    assert "nodes are not told of crops" in caplog.text
