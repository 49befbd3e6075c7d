"""Delivery `every` through a broker that takes few messages at once and answers late."""

import json
from pathlib import Path

import pytest

from devit_iot.build import build_node
from devit_iot.build_aggregator import build_aggregator
from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import BrokerConfig, Config, ImagesConfig, NodeConfig
from devit_iot.errors import BrokerError
from devit_iot.protocol.topics import Topics
from devit_iot.transport.mqtt import MqttTransport
from tests.support.fleets import image_file, make_bundle, wait_until
from tests.support.running import running
from tests.support.stand_in_broker import Behaviour, StandInBroker

IMAGES = 60


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "small", parts=2)


def config(broker: StandInBroker, bundle: Path, part: int = 0) -> Config:
    return Config(
        fleet="limits",
        bundle=str(bundle),
        broker=BrokerConfig(url=broker.url),
        images=(ImagesConfig("line/{camera}/{request}", delivery="every"),),
        node=NodeConfig(name=f"n{part}", part=part, threads=1),
    )


@pytest.mark.parametrize("ack_delay_s", [0.005, 0.1])
def test_every_image_gets_a_label(small: Bundle, ack_delay_s: float) -> None:
    """The broker is restarted in the middle."""
    behaviour = Behaviour(receive_maximum=10, ack_delay_s=ack_delay_s)
    with StandInBroker(behaviour) as broker:
        services = [build_node(config(broker, small.path, part), {}) for part in range(2)]
        aggregator = build_aggregator(config(broker, small.path), {})
        transport = MqttTransport(BrokerConfig(url=broker.url), client_id="camera")

        refused: list[BrokerError] = []
        topic = Topics("limits").label("belt")

        def labelled() -> set[str]:
            return {json.loads(body)["request_id"] for t, body in broker.received if t == topic}

        with running(aggregator, *services):
            wait_until(lambda: len(broker.online) == 3)
            transport.start(on_ready=lambda: None, on_refused=refused.append)
            for seed in range(IMAGES):
                request = f"line/belt/{seed:032x}"
                transport.publish(request, image_file(seed), qos=1, on_puback=lambda: None)
            wait_until(lambda: len(labelled()) > 5, 60)
            broker.restart()
            wait_until(lambda: len(labelled()) == IMAGES, 60)
            transport.stop()
        assert not refused
        assert broker.exceeded == 0
        assert 1 < broker.largest <= 10
