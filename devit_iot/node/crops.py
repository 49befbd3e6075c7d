"""Which parts of an image a node computes, as the fleet's retained message says."""

import logging
from collections.abc import Sequence

from devit_iot.config.images import ImagesConfig
from devit_iot.errors import MessageError
from devit_iot.node.frame import Frame
from devit_iot.protocol.crop import Crop, CropPlan
from devit_iot.protocol.looks import LookTopics
from devit_iot.protocol.topics import Topics
from devit_iot.service.counters import Counters
from devit_iot.transport.base import Message, Transport

logger = logging.getLogger(__name__)


class Crops:
    """The plan of the fleet; without one, whole images.

    A message that is not as it should be is refused and counted, and the plan before holds. The
    handler runs on the network thread and replaces the plan whole.

    Args:
        transport: a connection that is not started.
        topics: the fleet's topics.
        counters: count what is refused.
    """

    def __init__(self, transport: Transport, topics: Topics, counters: Counters) -> None:
        self._plan = CropPlan()
        self._counters = counters
        transport.subscribe(topics.crops, self._on_plan, required=False)

    def wanted(self, camera: str, image: bytes) -> list[tuple[bytes, Crop | None]]:
        """What to compute of the image with the request id ``image``: request ids, with crops."""
        return self._plan.of(camera).wanted(image)

    def of(self, frame: Frame) -> list[tuple[bytes, Crop | None]]:
        """What to compute of a frame: request ids, with crops."""
        if frame.crop is not None:
            return [(frame.request_id, frame.crop)]
        return self.wanted(frame.camera, frame.request_id)

    def only_whole(self, camera: str) -> bool:
        """Whether the whole image is all that is computed of an image of ``camera``."""
        orders = self._plan.of(camera)
        return orders.whole and not orders.crops

    def _on_plan(self, message: Message) -> None:
        try:
            plan = CropPlan() if message.is_deletion else CropPlan.decode(message.payload)
        except MessageError as error:
            self._counters.refuse(error, "the fleet's crops; what it said before holds")
            return
        if plan != self._plan:
            logger.info("the fleet computes crops of %d cameras", len(plan.cameras))
        self._plan = plan


def look_images(topics: LookTopics, cameras: Sequence[ImagesConfig]) -> ImagesConfig:
    """The filter of images that aggregators send to be looked at.

    Args:
        topics: where they are sent.
        cameras: filters of the cameras' own images, of which these come.
    """
    every = any(entry.delivery == "every" for entry in cameras)
    incomplete = any(entry.incomplete == "take" for entry in cameras)
    return ImagesConfig(
        topics.images,
        delivery="every" if every else "latest",
        incomplete="take" if incomplete else "refuse",
    )
