"""A broker that denies a subscription, as EMQX and RabbitMQ do, and lets the others pass."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import expect
from websockets import Subprotocol
from websockets.sync.server import ServerConnection, serve

from tests.browser.conftest import Opener, live

CONNECT, SUBSCRIBE, PINGREQ = 1, 8, 12
DENIED = 0x80


def packets(link: ServerConnection) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each; none of this test has 16 KiB, so two bytes hold every length."""
    waiting = b""
    for frame in link:
        waiting += frame if isinstance(frame, bytes) else b""
        while len(waiting) > 1:
            long = waiting[1] > 0x7F
            if len(waiting) < 2 + long:
                break
            head = 2 + long
            length = waiting[1] & 0x7F | (waiting[2] << 7 if long else 0)
            if len(waiting) < head + length:
                break
            yield waiting[0] >> 4, waiting[head : head + length]
            waiting = waiting[head + length :]


@contextmanager
def strict_broker(forbidden: bytes) -> Iterator[str]:
    """Speaks just enough MQTT 3.1.1: grants every filter but those that begin so."""

    def answer(link: ServerConnection) -> None:
        for kind, body in packets(link):
            if kind == CONNECT:
                link.send(b"\x20\x02\x00\x00")
            elif kind == PINGREQ:
                link.send(b"\xd0\x00")
            elif kind == SUBSCRIBE:
                codes, rest = b"", body[2:]
                while rest:
                    end = 2 + int.from_bytes(rest[:2], "big")
                    codes += bytes((DENIED if rest[2:end].startswith(forbidden) else rest[end],))
                    rest = rest[end + 1 :]
                link.send(bytes((0x90, 2 + len(codes))) + body[:2] + codes)

    with serve(answer, "127.0.0.1", 0, subprotocols=[Subprotocol("mqtt")]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/mqtt"
        server.shutdown()
        thread.join()


def test_what_the_broker_denies_is_named_and_the_rest_goes_on(opened: Opener) -> None:
    with strict_broker(b"cameras/") as url:
        page = live(opened(url))
        expect(page.locator("#notices .notice")).to_have_text(
            "The broker does not let this user read cameras/+/image, cameras/+/image/+."
        )
        page.goto("about:blank")
