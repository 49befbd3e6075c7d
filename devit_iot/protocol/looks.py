"""Topics of images of which nodes compute one crop, because an aggregator decided so.

Normative: docs/protocol.md.
"""

import re

import msgspec

from devit_iot.errors import MessageError
from devit_iot.protocol.crop import CROP_BYTES, Crop
from devit_iot.protocol.topics import CAMERA_LEVEL, PREFIX, REQUEST_LEVEL

_CROP_LEVEL = 4
_CROP = re.compile(rf"[0-9a-f]{{{2 * CROP_BYTES}}}")


class LookTopics(msgspec.Struct, frozen=True):
    """Where the aggregators of one fleet publish the images that are to be looked at."""

    fleet: str

    def look(self, crop: Crop, camera: str, image: bytes) -> str:
        """The topic of an image, by its request id, of which nodes are to compute ``crop``.

        Its last level is the request id of the crop, which differs from that of the image.
        """
        request_id = crop.request_id(image).hex()
        return f"{PREFIX}/{self.fleet}/looks/{crop.encode().hex()}/{camera}/{request_id}"

    @property
    def images(self) -> str:
        """The image filter of all of them."""
        return f"{PREFIX}/{self.fleet}/looks/+/{CAMERA_LEVEL}/{REQUEST_LEVEL}"

    def client_id(self, shard: int | str) -> str:
        """The client id of the connection on which one aggregator decides."""
        return f"devit-{self.fleet}-looker-{shard}"

    def crop_of(self, topic: str) -> Crop | None:
        """The crop in the topic of an image; None for an image on a camera's own topic.

        Raises:
            MessageError: the level of the crop does not say one.
        """
        if not topic.startswith(f"{PREFIX}/{self.fleet}/looks/"):
            return None
        level = topic.split("/")[_CROP_LEVEL]
        if not _CROP.fullmatch(level):
            raise MessageError("crop", f"no crop in topic {topic[:100]!r}")
        try:
            return Crop.decode(bytes.fromhex(level))
        except ValueError as error:
            raise MessageError("crop", f"topic {topic[:100]!r}: {error}") from error
