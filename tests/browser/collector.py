"""A stand-in of `devit collect` that answers every ask of the page in the same way."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from devit_iot.config.config import BrokerConfig
from devit_iot.datasets.thumbnail import thumbnail
from devit_iot.protocol.teaching import (
    FittedClass,
    ShownPicture,
    TeachAnswer,
    TeachState,
    decode_ask,
)
from tests.browser.conftest import TOPICS
from tests.support.fleets import image_file
from tests.support.mosquitto import Client

HOSTILE = "<img src=x onerror=alert(1)>"
SHOWN = tuple(
    ShownPicture(number, 1_777_600_000_000, "cat", 0.5, name, thumbnail(image_file(number)), "open")
    for number, name in ((2, HOSTILE), (1, ""))
)
FITTED = (FittedClass(HOSTILE, 3, 1.0), FittedClass("open", 2, 0.5))


def whole(ask: str) -> bytes:
    """Everything that an answer may have."""
    answer = TeachAnswer(
        ask,
        pictures=SHOWN,
        more=True,
        classes={HOSTILE: 3, "open": 2},
        accuracy=0.8,
        measured=5,
        unknown=0.6,
        fitted=FITTED,
        version="0" * 16,
    )
    return msgspec.json.encode(answer)


@contextmanager
def collector(url: str, answer: Callable[[str], bytes]) -> Iterator[None]:
    """Says that pictures are kept, and answers every ask in the same way."""
    with Client(BrokerConfig(url=url), TOPICS.teach_ask("+"), client_id="collector") as client:
        state = TeachState(
            collecting=True, cameras={"door": 2, HOSTILE: 1}, can_fit=False, problem=HOSTILE
        )
        client.publish(TOPICS.teach_state, state.encode(), retain=True)
        ended = threading.Event()

        def serve() -> None:
            while not ended.wait(0.02):
                while not client.inbox.empty():
                    message = client.inbox.get()
                    tab = message.topic.rpartition("/")[2]
                    ask = decode_ask(message.payload)
                    client.publish(TOPICS.teach_answer(tab), answer(ask.id))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            client.publish(TOPICS.teach_state, b"", retain=True)
