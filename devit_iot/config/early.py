"""Which cameras get their label before all parts have answered, and how their nodes take turns."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from devit_iot.config.images import ImagesConfig
from devit_iot.errors import ConfigError
from devit_iot.protocol.topics import ImageFilter


class Early(NamedTuple):
    """What holds for one camera.

    Attributes:
        confidence: how probable the whole fleet's answer is to be the same; 0: wait for all parts.
        hold_s: seconds that each node in turn waits longer than the one before it; 0: none waits.
    """

    confidence: float = 0.0
    hold_s: float = 0.0


class EarlyChoice:
    """What holds for every camera.

    A filter of images that names one camera goes first. Then come those with wildcards, which all
    say the same, since a camera's name does not tell by which of them its images came.

    Args:
        images: filters of images.

    Raises:
        ConfigError: it is not clear what holds for a camera.
    """

    def __init__(self, images: Sequence[ImagesConfig] = ()) -> None:
        self._by_camera: dict[str, Early] = {}
        self._others = Early()
        wild: list[tuple[str, Early]] = []
        for entry in images:
            early = Early(entry.confidence, entry.hold_s if entry.mode == "cascade" else 0.0)
            camera = ImageFilter(entry.topic).only_camera
            if camera is None:
                wild.append((entry.topic, early))
            else:
                self._by_camera.setdefault(camera, early)
        for (one, ours), (two, theirs) in itertools.pairwise(wild):
            if ours != theirs:
                raise ConfigError(
                    f"images: '{one}' and '{two}' have different confidence, mode or hold_s, and a "
                    "camera's name does not tell which of the two its images came by; give filters "
                    "with wildcards the same ones"
                )
        if wild:
            self._others = wild[0][1]

    @property
    def any(self) -> bool:
        """Whether some camera may get its label early."""
        return any(one.confidence > 0 for one in (self._others, *self._by_camera.values()))

    @property
    def longest_hold_s(self) -> float:
        """The longest wait of a node for the one before it."""
        return max(one.hold_s for one in (self._others, *self._by_camera.values()))

    def of(self, camera: str) -> Early:
        """What holds for ``camera``."""
        return self._by_camera.get(camera, self._others)
