"""``[homeassistant]``: what the aggregators announce to Home Assistant."""

import msgspec

from devit_iot.config.rules import Rules
from devit_iot.protocol.topics import DISCOVERY_PREFIX


class HomeAssistantConfig(msgspec.Struct, frozen=True):
    """``[homeassistant]``: what the aggregators announce to it.

    Attributes:
        enabled: whether the aggregators announce devices.
        prefix: first levels of the topics where Home Assistant looks for devices.
        expire_s: without a label for so long, a camera's entities become unavailable; 0: never,
            for cameras that send an image only when something happens.
    """

    enabled: bool = True
    prefix: str = DISCOVERY_PREFIX
    expire_s: int = 0

    def rules(self) -> Rules:
        """What must hold, and what is wrong where it does not."""
        return ((self.expire_s >= 0, "homeassistant.expire_s must not be negative"),)
