"""Heads that a release takes over from the one before it."""

import logging
from collections.abc import Iterable, Iterator

from devit_iot.bundle.head import head_names
from devit_iot.bundle.head_cameras import cameras_of, give_cameras
from devit_iot.bundle.head_writing import copy_head
from devit_iot.bundle.reading import Bundle
from devit_iot.errors import BundleError
from devit_iot.updates.store import Store

logger = logging.getLogger(__name__)


def take_over_heads(store: Store, bundle: Bundle, names: Iterable[str]) -> None:
    """Copy the heads that a bundle lacks from the latest bundle here that has the same parts.

    Heads that cameras were given while the fleet ran come too, with these cameras. A head that
    cannot be had is left out: who loads it says so.

    Args:
        store: folder of the bundles of this member.
        bundle: bundle of the store that is about to be loaded.
        names: names of the heads that some camera has.
    """
    own = set(head_names(bundle))
    missing = set(names) - own
    for other in _with_same_parts(store, bundle):
        given = {name for name in head_names(other) if cameras_of(other, name)}
        for name in sorted((missing & set(head_names(other))) | (given - own)):
            try:
                copy_head(other, name, bundle)
                if name in given:
                    give_cameras(bundle, name, cameras_of(other, name))
            except BundleError as error:
                logger.warning("head %s is not taken over: %s", name, error)
            else:
                logger.info("head %s is taken over from %s", name, other.manifest.fingerprint)
                missing.discard(name)
                own.add(name)


def _with_same_parts(store: Store, bundle: Bundle) -> Iterator[Bundle]:
    """Every other bundle of the store with the same parts, the latest first."""
    for fingerprint in reversed(store.fingerprints):
        try:
            other = Bundle(store.folder(fingerprint), trust=bundle.trust)
        except BundleError:  # a download that is not complete
            continue
        if other.path != bundle.path and other.parts_fingerprint == bundle.parts_fingerprint:
            yield other
