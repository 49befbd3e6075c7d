"""``[collect]``: the process that keeps pictures to teach from."""

import msgspec

from devit_iot.config.rules import Rules


class CollectConfig(msgspec.Struct, frozen=True):
    """``[collect]``: keeps pictures to teach from, in one file on this machine.

    Attributes:
        folder: where the pictures are kept.
        last: latest pictures that are kept of each camera.
        least_certain: further ones of each camera that are kept because the fleet was least sure.
        interval_s: at most one picture of a camera is kept in so many seconds.
        max_mib: MiB of everything that is kept; the oldest without a class make room.
        max_days: days after which a picture without a class is deleted.
        max_cameras: pictures of further cameras are not kept.
        key: private key that signs the heads that are taught, for services with ``trust``.
    """

    folder: str = ""
    last: int = 200
    least_certain: int = 100
    interval_s: float = 1.0
    max_mib: int = 512
    max_days: int = 30
    max_cameras: int = 64
    key: str = ""

    def rules(self) -> Rules:
        """What must hold, and what is wrong where it does not."""
        return (
            (self.last > 0, "collect.last must be positive"),
            (self.least_certain >= 0, "collect.least_certain must not be negative"),
            (self.interval_s >= 0, "collect.interval_s must not be negative"),
            (self.max_mib > 0, "collect.max_mib must be positive"),
            (self.max_days > 0, "collect.max_days must be positive"),
            (self.max_cameras > 0, "collect.max_cameras must be positive"),
        )
