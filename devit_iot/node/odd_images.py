"""What a node says, once, of messages on image topics with which nothing is wrong."""

import logging

from devit_iot.service.counters import Counters
from devit_iot.transport.base import Message

logger = logging.getLogger(__name__)


def note_deletion(message: Message, counters: Counters) -> None:
    """Count an empty message, which takes a retained image off the broker."""
    if not counters["deleted"]:
        logger.info("an empty message on %r: nothing to label", message.topic[:100])
    counters.count("deleted")


def warn_of_qos_0(message: Message, counters: Counters) -> None:
    """Count an image of ``every`` that the broker may have lost."""
    if not counters["qos_0"]:
        logger.warning(
            "image on %r came at QoS 0: the broker may lose it, so it counts as `latest`",
            message.topic[:100],
        )
    counters.count("qos_0")
