"""The heads that an aggregator has in memory, and which of them answer for a camera."""

import logging

from devit_iot.bundle.calibration import read_calibration
from devit_iot.bundle.head import live_version, read_head
from devit_iot.bundle.head_cameras import given_heads
from devit_iot.bundle.reading import Bundle
from devit_iot.config.heads import HeadChoice
from devit_iot.engine.fusion import Fusion
from devit_iot.engine.sureness import Sureness
from devit_iot.errors import BundleError
from devit_iot.protocol.crop import Crop, CropPlan

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the disk is asked for new versions."""

_REMEMBERED = 4096
"""Cameras and rectangles whose heads are remembered: looking them up takes as long as fusing."""


class CameraHeads:
    """What answers for each camera.

    A head that a camera was given while the fleet runs goes before those that the configuration
    gives it.

    Args:
        bundle: bundle whose parts make the features; its heads lie beside it.
        choice: which cameras have which heads.

    Attributes:
        bundle: the bundle.
        fingerprint: fingerprint of the bundle, hex.
        parts: number of its parts.
        parts_fingerprint: fingerprint of the parts, hex.
        feature_dims: length of each part's feature.

    Raises:
        BundleError: a head that some camera has is missing or damaged.
    """

    def __init__(self, bundle: Bundle, choice: HeadChoice) -> None:
        self.bundle = bundle
        self._choice = choice
        self._fusions = {name: Fusion(bundle, name) for name in choice.names}
        self._given: dict[str, tuple[str, ...]] = {}
        self._problems: dict[str, str] = {}
        self._sureness: dict[str, Sureness] | None = None  # not asked for
        self._answering: dict[tuple[str, Crop | None], tuple[Fusion, ...]] = {}
        self._look_at = 0.0
        self.fingerprint = bundle.manifest.fingerprint
        self.parts = len(bundle.manifest.parts)
        self.parts_fingerprint = bundle.parts_fingerprint.hex()
        self.feature_dims = bundle.manifest.fusion_spec.feature_dims
        self.look_again()

    def of(self, camera: str) -> tuple[Fusion, ...]:
        """The heads of ``camera``, the main one first."""
        names = dict.fromkeys((*self._given.get(camera, ()), *self._choice.of(camera)))
        return tuple(self._fusions[name] for name in names if name in self._fusions)

    @property
    def names(self) -> tuple[str, ...]:
        """The heads that answer for some camera."""
        return tuple(self._fusions)

    def answers(self, name: str) -> bool:
        """Whether some camera may have this head, by the configuration or as it was given."""
        return name in self._fusions

    def look_again(self) -> None:
        """Take what was changed beside the bundle at once: versions, and who has which head.

        A head that was given and cannot be loaded is left out, with one line in the log.
        """
        self._given = given_heads(self.bundle)
        given = {name for names in self._given.values() for name in names}
        for name in self._fusions.keys() - given - set(self._choice.names):
            del self._fusions[name]
        for name in given - self._fusions.keys():
            try:
                self._fusions[name] = Fusion(self.bundle, name)
            except BundleError as error:
                logger.warning("head %s is left out: %s", name, error)
                continue
            try:
                self._calibrate(name)
            except BundleError as error:
                logger.warning("head %s waits for all parts: %s", name, error)
        self._answering = {}
        self._look_at = 0.0
        self.refresh(0.0)

    def looking_at(self, camera: str, crop: Crop | None) -> tuple[Fusion, ...]:
        """The heads of ``camera`` that look at this rectangle of its images, the main one first."""
        answering = self._answering  # whoever changes something meanwhile begins another one
        found = answering.get((camera, crop))
        if found is None:
            crop_of = self._choice.crop
            found = tuple(f for f in self.of(camera) if crop_of(camera, f.head, f.crop) == crop)
            if len(answering) >= _REMEMBERED:
                answering.clear()
            answering[camera, crop] = found
        return found

    @property
    def plan(self) -> CropPlan:
        """What nodes compute for these heads; ConfigError if a camera has too many rectangles."""
        crops = {name: fusion.crop for name, fusion in self._fusions.items()}
        return self._choice.plan({name: crop for name, crop in crops.items() if crop is not None})

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
            found = read_calibration(self.bundle, read_head(self.bundle, name))
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
                if live_version(self.bundle, name) != fusion.version:
                    self._fusions[name] = Fusion(self.bundle, name)
                    self._answering = {}
                    version = self._fusions[name].version
                    logger.info("head %s is now version %s", name, version)
                    self._calibrate(name)
                self._problems.pop(name, None)
            except BundleError as error:
                if self._problems.get(name) != str(error):  # it is tried again every second
                    logger.warning("head %s stays at version %s: %s", name, fusion.version, error)
                self._problems[name] = str(error)
