"""The bundles that a fleet serves, goes over to, and may return to, with the heads that answer."""

from collections.abc import Iterable

from devit_iot.aggregator.heads import CameraHeads
from devit_iot.protocol.crop import CropPlan

MAX_FUSIONS = 3
_UNKNOWN_DIM = 2**16


class Fusions:
    """Heads by bundle; the last three bundles, since older ones serve no release any more.

    Another thread may add a bundle while the aggregator uses the others.

    Args:
        first: bundles to begin with, with their heads.
        awaiting: whether others may come, from a hub that was not heard yet.

    Attributes:
        changes: grows when a bundle came, or when others are awaited.
        longest_dim: numbers of the longest feature that may be one.
    """

    def __init__(self, first: Iterable[CameraHeads] = (), *, awaiting: bool = False) -> None:
        self._fusions = {heads.fingerprint: heads for heads in first}
        self._awaited: frozenset[str] | None = None if awaiting else frozenset()
        self.changes = 0
        self._measure()

    def get(self, fingerprint: str) -> CameraHeads | None:
        """The heads of one bundle, or None."""
        return self._fusions.get(fingerprint)

    def made_by(self, fingerprint: str, parts_fingerprint: str) -> CameraHeads | None:
        """The heads for what a node computes; None if no bundle here has its parts.

        The parts alone decide that. If several bundles have these parts, the node's own one goes
        first, then the latest. A node that does not name its parts has the same ones if it has the
        same bundle.

        Args:
            fingerprint: fingerprint of the node's bundle, hex.
            parts_fingerprint: fingerprint of its parts, hex; empty if it does not name them.
        """
        fusions = self._fusions
        own = fusions.get(fingerprint)
        if not parts_fingerprint or (own and own.parts_fingerprint == parts_fingerprint):
            return own
        same = [h for h in fusions.values() if h.parts_fingerprint == parts_fingerprint]
        return same[-1] if same else None

    def plan(self) -> CropPlan | None:
        """What nodes compute for the heads of the latest bundle; None while there is none."""
        latest = next(reversed(self._fusions.values()), None)
        return None if latest is None else latest.plan

    @property
    def all(self) -> tuple[CameraHeads, ...]:
        """What is here, the latest bundle at the end."""
        return tuple(self._fusions.values())

    def refresh(self, now: float) -> None:
        """Take the versions of heads that became live; ``now`` is in monotonic seconds."""
        for heads in self._fusions.values():
            heads.refresh(now)

    def add(self, heads: CameraHeads) -> None:
        """Fuse features of this bundle too."""
        others = [
            known for known in self._fusions.values() if known.fingerprint != heads.fingerprint
        ]
        kept = (*others[-(MAX_FUSIONS - 1) :], heads)
        self._fusions = {known.fingerprint: known for known in kept}
        self._measure()
        self.changes += 1

    def await_only(self, fingerprints: Iterable[str]) -> None:
        """Await the bundles that are served or are to be, as the hub said."""
        self._awaited = frozenset(fingerprints)
        self._measure()
        self.changes += 1

    def may_come(self, fingerprint: str) -> bool:
        """Whether this bundle is on its way."""
        return self._awaited is None or fingerprint in self._awaited

    def _measure(self) -> None:
        """Find out how long a feature may be: of an awaited bundle nobody knows."""
        known = self._awaited is not None and self._awaited <= self._fusions.keys()
        dims = (max(heads.feature_dims) for heads in self._fusions.values())
        self.longest_dim = max(dims, default=0) if known else _UNKNOWN_DIM
