"""How long a fleet's members may take, and how many may fail."""

from typing import NamedTuple

from devit_iot.protocol.release import UpdateState


class Limits(NamedTuple):
    """How long and how many; see :class:`devit_iot.config.hub.HubConfig`."""

    good_labels: int
    failure_share: float
    offer_s: float
    download_s: float
    install_s: float
    activate_s: float
    takeover_s: float
    replicas: bool = False

    def of(self, state: UpdateState | None) -> float:
        """How long a member may be in a state without a change."""
        match state:
            case "DOWNLOADING":
                return self.download_s
            case "DOWNLOADED" | "INSTALLING":
                return self.install_s
            case "INSTALLED" | "ACTIVATING":
                return self.activate_s
            case _:
                return self.offer_s
