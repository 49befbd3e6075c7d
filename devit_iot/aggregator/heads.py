"""The heads that an aggregator has in memory, and which of them answer for a camera."""

import logging

from devit_iot.bundle.calibration import read_calibration
from devit_iot.bundle.head import live_version, read_head
from devit_iot.bundle.reading import Bundle
from devit_iot.config.heads import HeadChoice
from devit_iot.engine.fusion import Fusion
from devit_iot.engine.sureness import Sureness
from devit_iot.errors import BundleError
from devit_iot.protocol.crop import Crop, CropPlan

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the disk is asked for new versions."""


class CameraHeads:
    """What answers for each camera.

    Args:
        bundle: bundle whose parts make the features; its heads lie beside it.
        choice: which cameras have which heads.

    Attributes:
        fingerprint: fingerprint of the bundle, hex.
        parts: number of its parts.
        parts_fingerprint: fingerprint of the parts, hex.
        feature_dims: length of each part's feature.

    Raises:
        BundleError: a head that some camera has is missing or damaged.
    """

    def __init__(self, bundle: Bundle, choice: HeadChoice) -> None:
        self._bundle = bundle
        self._choice = choice
        self._fusions = {name: Fusion(bundle, name) for name in choice.names}
        self._problems: dict[str, str] = {}
        self._sureness: dict[str, Sureness] | None = None  # not asked for
        self._look_at = 0.0
        self.fingerprint = bundle.manifest.fingerprint
        self.parts = len(bundle.manifest.parts)
        self.parts_fingerprint = bundle.parts_fingerprint.hex()
        self.feature_dims = bundle.manifest.fusion_spec.feature_dims

    def of(self, camera: str) -> tuple[Fusion, ...]:
        """The heads of ``camera``, the main one first."""
        return tuple(self._fusions[name] for name in self._choice.of(camera))

    def looking_at(self, camera: str, crop: Crop | None) -> tuple[Fusion, ...]:
        """The heads of ``camera`` that look at this rectangle of its images, the main one first."""
        crop_of = self._choice.crop
        return tuple(f for f in self.of(camera) if crop_of(camera, f.head, f.crop) == crop)

    @property
    def plan(self) -> CropPlan:
        """What nodes compute for these heads; ConfigError if a camera has too many rectangles."""
        crops = {name: fusion.crop for name, fusion in self._fusions.items()}
        return self._choice.plan({name: crop for name, crop in crops.items() if crop is not None})

    def main(self, camera: str) -> str:
        """Name of the main head of ``camera``."""
        return self._choice.of(camera)[0]

    def calibrate(self) -> None:
        """Read the calibration of every head, so that :meth:`sureness` knows them.

        Raises:
            BundleError: a head has none, or it is damaged or fitted for something else.
        """
        self._sureness = {}
        for name in self._fusions:
            self._calibrate(name)

    def _calibrate(self, name: str) -> None:
        if self._sureness is not None:
            self._sureness.pop(name, None)
            found = read_calibration(self._bundle, read_head(self._bundle, name))
            self._sureness[name] = Sureness(found, self._fusions[name].logits({}))

    def sureness(self, fusion: Fusion) -> Sureness | None:
        """The calibration of a head; None if there is none for its version."""
        found = (self._sureness or {}).get(fusion.head)
        return found if found and found.head_version == fusion.version else None

    def refresh(self, now: float) -> None:
        """Take the versions that became live; a head whose new version is bad stays as it was.

        Args:
            now: monotonic seconds.
        """
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        for name, fusion in self._fusions.items():
            try:
                if live_version(self._bundle, name) != fusion.version:
                    self._fusions[name] = Fusion(self._bundle, name)
                    version = self._fusions[name].version
                    logger.info("head %s is now version %s", name, version)
                    self._calibrate(name)
                self._problems.pop(name, None)
            except BundleError as error:
                if self._problems.get(name) != str(error):  # it is tried again every second
                    logger.warning("head %s stays at version %s: %s", name, fusion.version, error)
                self._problems[name] = str(error)
