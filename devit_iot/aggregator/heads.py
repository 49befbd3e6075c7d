"""The heads that an aggregator has in memory, and which of them answer for a camera."""

from collections.abc import Callable, Mapping

from devit_iot.engine.fusion import Fusion


class CameraHeads:
    """What answers for each camera.

    Args:
        fusions: by the name of their head, at least one, all of the same parts.
        choose: camera -> names of its heads, the main one first.

    Attributes:
        parts_fingerprint: of the parts, hex.
        feature_dims: length of each part's feature.
    """

    def __init__(
        self, fusions: Mapping[str, Fusion], choose: Callable[[str], tuple[str, ...]]
    ) -> None:
        self._fusions = dict(fusions)
        self._choose = choose
        any_of_them = next(iter(self._fusions.values()))
        self.parts_fingerprint = any_of_them.parts_fingerprint
        self.feature_dims = any_of_them.feature_dims

    def of(self, camera: str) -> tuple[Fusion, ...]:
        """The heads of ``camera``, the main one first."""
        return tuple(self._fusions[name] for name in self._choose(camera))
