"""Addresses to listen on: one way to write them, for metrics and for the live page."""

from collections.abc import Callable

import pytest

from devit_iot.config.listen import metrics_address, page_address
from devit_iot.errors import ConfigError

Parse = Callable[[str], tuple[str, int]]
BOTH = pytest.mark.parametrize("parse", [metrics_address, page_address])


@BOTH
@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("hub.local:80", ("hub.local", 80)),
        ("[::1]:9464", ("::1", 9464)),
        ("[fe80::1%eth0]:65535", ("fe80::1%eth0", 65535)),
    ],
)
def test_an_address_to_listen_on(parse: Parse, text: str, address: tuple[str, int]) -> None:
    assert parse(text) == address


@BOTH
@pytest.mark.parametrize(
    "text",
    ["", ":", "80", "hub:", "hub:x", "hub:65536", "hub:-1", "hub:+1", "hub:1_0", "hub: 80",
     "hub:80 ", "hub:٨٠", "::1:80", "[::1]", "[::1:80", "::1]:80", "[]:80", "[[::1]]:80"],
)  # fmt: skip
def test_what_is_none_is_named_with_an_example(parse: Parse, text: str) -> None:
    with pytest.raises(ConfigError, match="for instance") as caught:
        parse(text)
    assert f"'{text}'" in str(caught.value)


def test_no_host_is_every_interface_for_metrics_and_nothing_for_the_page() -> None:
    assert metrics_address(":9464") == ("", 9464)
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0:8080 \(every interface\)"):
        page_address(":8080")
