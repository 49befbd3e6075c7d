"""The fusions of the bundles that a fleet serves, goes over to, and may return to."""

from collections.abc import Iterable, Mapping

from devit_iot.engine.fusion import Fusion

MAX_FUSIONS = 3
_UNKNOWN_DIM = 2**16


class Fusions:
    """Fusions by fingerprint; the last three, since older ones serve no release any more.

    Another thread may add one while the aggregator uses them.

    Args:
        first: fusions to begin with, by the bundle's fingerprint in hex.
        awaiting: whether others may come, from a hub that was not heard yet.

    Attributes:
        changes: grows when a fusion came, or when others are awaited.
    """

    def __init__(
        self, first: Mapping[str, Fusion] | None = None, *, awaiting: bool = False
    ) -> None:
        self._fusions = dict(first or {})
        self._awaited: frozenset[str] | None = None if awaiting else frozenset()
        self.changes = 0

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
        self.changes += 1

    def await_only(self, fingerprints: Iterable[str]) -> None:
        """The hub said which bundles are served, or are to be."""
        self._awaited = frozenset(fingerprints)
        self.changes += 1

    def may_come(self, fingerprint: str) -> bool:
        """Whether the fusion of this bundle is on its way."""
        return self._awaited is None or fingerprint in self._awaited

    @property
    def longest_dim(self) -> int:
        """Numbers of the longest feature that may be one: of an awaited bundle nobody knows."""
        if self._awaited is None or not self._awaited <= self._fusions.keys():
            return _UNKNOWN_DIM
        return max((max(f.feature_dims) for f in self._fusions.values()), default=0)
