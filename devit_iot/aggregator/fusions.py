"""The fusions of the bundles that a fleet serves, goes over to, and may return to."""

from collections.abc import Mapping

from devit_iot.engine.fusion import Fusion

MAX_FUSIONS = 3


class Fusions:
    """Fusions by fingerprint; the last three, since older ones serve no release any more.

    Another thread may add one while the aggregator uses them.

    Args:
        first: fusions to begin with, by the bundle's fingerprint in hex.
    """

    def __init__(self, first: Mapping[str, Fusion] | None = None) -> None:
        self._fusions = dict(first or {})

    def __contains__(self, fingerprint: str) -> bool:
        return fingerprint in self._fusions

    def get(self, fingerprint: str) -> Fusion | None:
        """The fusion of one bundle, or None."""
        return self._fusions.get(fingerprint)

    def add(self, fingerprint: str, fusion: Fusion) -> None:
        """Fuse features of this bundle too."""
        others = {known: f for known, f in self._fusions.items() if known != fingerprint}
        kept = list(others.items())[-(MAX_FUSIONS - 1) :]
        self._fusions = {**dict(kept), fingerprint: fusion}

    @property
    def longest_dim(self) -> int:
        """Numbers of the longest feature of any bundle; 0 without one."""
        return max((max(f.feature_dims) for f in self._fusions.values()), default=0)
