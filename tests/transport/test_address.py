"""Addresses as people write them: the broker's, and its WebSocket listener's."""

import socket

import pytest

from devit_iot.errors import ConfigError
from devit_iot.transport.address import (
    check_websocket_url,
    parse_url,
    websocket_of,
)


@pytest.mark.parametrize(
    ("broker", "websocket"),
    [
        ("mqtt://hub.local", "ws://hub.local:9001/mqtt"),
        ("mqtt://10.0.0.2:1884", "ws://10.0.0.2:9001/mqtt"),
        ("mqtts://hub.local:8884", "wss://hub.local:9001/mqtt"),
        ("mqtt://[::1]", "ws://[::1]:9001/mqtt"),
    ],
)
def test_browsers_find_the_broker_beside_its_port(broker: str, websocket: str) -> None:
    assert websocket_of(broker) == websocket
    assert check_websocket_url(websocket) == websocket


@pytest.mark.parametrize(
    "url",
    [
        "http://hub:9001",
        "ws://hub",
        "ws://:9001",
        "ws://hub:99999",
        "ws://hub:9001/x?y",
        "ws://hub:9001/#x",
        "ws://user:secret@hub:9001/",
        "ws://hub:9001/; script-src *",
        "ws://hub;x:9001/",
        "hub:9001",
        "",
    ],
)
def test_other_addresses_for_browsers_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        check_websocket_url(url)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("mqtt://[fe80::1%eth0]", "fe80::1%eth0"),
        ("mqtt://[fe80::1%25eth0]", "fe80::1%eth0"),
        ("mqtt://[FE80::1%25Eth0]", "fe80::1%Eth0"),  # an interface may have capitals
        ("mqtt://[fe80::1%25wlan0.25]", "fe80::1%wlan0.25"),
        ("mqtt://[fe80::1%2]", "fe80::1%2"),
        ("mqtt://[fe80::1%252]", "fe80::1%2"),
        ("mqtt://[fe80::1%25]", "fe80::1%25"),
        ("mqtt://[fe80::1%2525]", "fe80::1%25"),
        ("mqtt://[::1]", "::1"),
        ("mqtt://hub.local", "hub.local"),
    ],
)
def test_a_link_local_brokers_interface(url: str, host: str) -> None:
    assert parse_url(url) == (host, 1883, False)
    assert parse_url(f"{url}:1884") == (host, 1884, False)
    assert parse_url(url.replace("mqtt:", "mqtts:")) == (host, 8883, True)


def test_a_link_local_address_is_one_that_the_system_takes() -> None:
    """The loopback interface is there on every machine; nobody listens on its link-local one."""
    host, port, _ = parse_url("mqtt://[fe80::1%25lo]:9")
    ((family, *_, address),) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    assert family == socket.AF_INET6
    assert address[-1] == socket.if_nametoindex("lo")


@pytest.mark.parametrize("url", ["mqtt://[fe80::1%eth0]", "mqtts://[fe80::1%25eth0]"])
def test_no_browser_can_name_an_interface(url: str) -> None:
    with pytest.raises(ConfigError, match="give --websocket"):
        websocket_of(url)


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://user:pa55@hub",
        "http://user:pa55@hub",
        "mqtt://user:pa55#x@hub",  # a parser takes `pa55` for the port, and says so
        "mqtt://user:pa55/x@hub",
        "mqtt://user:pa55?x@hub:1883",
    ],
)
def test_a_password_in_an_address_is_not_repeated(url: str) -> None:
    for parse in (parse_url, check_websocket_url, websocket_of):
        with pytest.raises(ConfigError, match="no credentials in the") as caught:
            parse(url)
        assert "pa55" not in str(caught.value)
