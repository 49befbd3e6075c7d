"""Whether a request needs no further part: the whole fleet would give the same labels."""

from devit_iot.aggregator.collector import Group
from devit_iot.aggregator.heads import CameraHeads
from devit_iot.config.early import EarlyChoice
from devit_iot.protocol.feature import Feature


class EarlyAnswers:
    """Judges requests by the calibrations of their camera's heads.

    Args:
        choice: which cameras get their label early.
    """

    def __init__(self, choice: EarlyChoice) -> None:
        self._choice = choice

    def patience_s(self, feature: Feature, parts: int) -> float:
        """How long the last of so many parts holds the image of ``feature``, seconds.

        Nodes hold whole images alone.
        """
        hold_s = self._choice.of(feature.camera).hold_s
        return hold_s * (parts - 1) if feature.crop is None else 0.0

    def are_sure(self, camera: str, group: Group, heads: CameraHeads) -> bool:
        """Whether the answer of each head of ``camera`` is sure enough to be published.

        Args:
            camera: name of the camera.
            group: features that are there; not those of all parts.
            heads: heads that fuse them.
        """
        confidence = self._choice.of(camera).confidence
        if not 0 < confidence < 1:
            return False
        features = {part: feature.values for part, feature in group.features.items()}
        crop = next(iter(group.features.values())).crop
        for fusion in heads.looking_at(camera, crop):
            judge = heads.sureness(fusion)
            if judge is None:
                return False
            if judge.of(fusion.logits(features), features.keys()) < confidence:
                return False
        return True
