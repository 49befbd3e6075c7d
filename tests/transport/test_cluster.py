"""One transport and several brokers, of which some are gone."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from devit_iot.config.config import BrokerConfig
from devit_iot.demo.processes import free_port
from devit_iot.errors import ConfigError, MessageError
from devit_iot.transport.address import parse_urls, websocket_of
from devit_iot.transport.mqtt import MqttTransport
from tests.support.fleets import wait_until
from tests.support.stand_in_broker import Behaviour, StandInBroker


@pytest.fixture
def brokers() -> Iterator[list[StandInBroker]]:
    """Two of MQTT 3.1.1."""
    with ExitStack() as stack:
        yield [stack.enter_context(StandInBroker(Behaviour(version=4))) for _ in range(2)]


def started(stack: ExitStack, url: str) -> MqttTransport:
    transport = MqttTransport(BrokerConfig(url=url), client_id="x")
    stack.callback(transport.stop)
    transport.start(on_ready=lambda: None, on_refused=lambda _error: None)
    return transport


def test_a_broker_that_is_gone_is_passed_over(brokers: list[StandInBroker]) -> None:
    gone = f"mqtt://127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        transport = started(stack, f"{gone}, {brokers[0].url}")
        wait_until(lambda: transport.connected)


def test_a_broker_that_takes_connections_and_says_nothing_is_passed_over(
    brokers: list[StandInBroker],
) -> None:
    with ExitStack() as stack, closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        transport = started(stack, f"{url},{brokers[0].url}")
        wait_until(lambda: transport.connected)


def test_who_loses_its_broker_goes_on_with_the_next(brokers: list[StandInBroker]) -> None:
    with ExitStack() as stack:
        transport = started(stack, ",".join(broker.url for broker in brokers))
        wait_until(lambda: transport.connected)
        assert (brokers[0].connects > 0, brokers[1].connects) == (True, 0)
        brokers[0].behaviour.hang_up = True
        brokers[0].restart()
        transport.publish("a", b"later", qos=1, on_puback=lambda: None)
        wait_until(lambda: brokers[1].received == [("a", b"later")])


def test_a_broker_that_is_gone_does_not_excuse_a_message_that_the_others_hang_up_for(
    brokers: list[StandInBroker],
) -> None:
    given_up: list[MessageError] = []
    for broker in brokers:
        broker.behaviour.max_packet = 1000
    gone = f"mqtt://127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        transport = started(stack, ",".join([*(broker.url for broker in brokers), gone]))
        wait_until(lambda: transport.connected)
        for size in (2000, 20):
            transport.publish(
                *("a", bytes(size)), qos=1, on_puback=lambda: None, on_given_up=given_up.append
            )
        wait_until(lambda: given_up)
        wait_until(lambda: ("a", bytes(20)) in brokers[0].received + brokers[1].received)
    assert len(given_up) == 1


def test_a_version_that_one_broker_does_not_speak_is_not_asked_of_the_next(
    brokers: list[StandInBroker],
) -> None:
    with ExitStack() as stack:
        transport = started(stack, ",".join(broker.url for broker in brokers))
        wait_until(lambda: transport.connected)
        assert [broker.connects for broker in brokers] == [2, 0]


def test_urls_of_a_cluster() -> None:
    assert parse_urls("mqtt://a, mqtt://b:1884,mqtt://a") == ("mqtt://a", "mqtt://b:1884")
    assert websocket_of("mqtts://a,mqtts://b") == "wss://a:9001/mqtt"


@pytest.mark.parametrize("urls", ["mqtt://a,mqtts://b", "mqtt://a,", "mqtt://a;mqtt://b", "a,b"])
def test_urls_that_are_no_cluster(urls: str) -> None:
    with pytest.raises(ConfigError):
        MqttTransport(BrokerConfig(url=urls), client_id="x")


def test_a_password_with_a_comma_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_urls("mqtt://user:pa55,word@b")
    assert "pa55" not in str(caught.value)


def test_a_password_in_any_url_is_not_repeated() -> None:
    with pytest.raises(ConfigError, match="no credentials in the") as caught:
        parse_urls("mqtt://a,mqtt://user:pa55@b")
    assert "pa55" not in str(caught.value)
