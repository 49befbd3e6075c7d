"""Whether a request needs no further part: the whole fleet would give the same labels."""

import numpy as np

from devit_iot.aggregator.collector import Group
from devit_iot.aggregator.heads import CameraHeads
from devit_iot.config.early import EarlyChoice


class EarlyAnswers:
    """Judges requests by the calibrations of their camera's heads.

    Args:
        choice: which cameras get their label early.
    """

    def __init__(self, choice: EarlyChoice) -> None:
        self._choice = choice

    def patience_s(self, camera: str, parts: int) -> float:
        """How long the last of so many parts holds an image of ``camera``, seconds."""
        return self._choice.of(camera).hold_s * (parts - 1)

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
        for fusion in heads.of(camera):
            judge = heads.sureness(fusion)
            if judge is None:
                return False
            scores = np.stack([fusion.logits(features)])
            if judge.of(scores, features.keys())[0] < confidence:
                return False
        return True
