"""Brings the files of one release to this member's disk."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from devit_iot.bundle.manifest import (
    MANIFEST,
    FileEntry,
    Manifest,
    decode_manifest,
    sha256_of,
)
from devit_iot.bundle.signature import SIGNATURE
from devit_iot.errors import BundleError
from devit_iot.protocol.release import Release
from devit_iot.updates.durable import write_file
from devit_iot.updates.fetch import Fetcher
from devit_iot.updates.head_fetch import fetch_heads
from devit_iot.updates.store import Store


def _any(_url: str, _release: Release) -> None:
    """Any release may be installed."""


class Installer:
    """Fetches what is missing of a release; what any bundle here holds already is linked.

    Args:
        store: store of this member.
        fetcher: fetches files of the hub.
        check: raises DevitError unless the release at a hub's address may be installed.
    """

    def __init__(
        self, store: Store, fetcher: Fetcher, check: Callable[[str, Release], None] = _any
    ) -> None:
        self._store = store
        self._fetcher = fetcher
        self._check = check

    def download(
        self, url: str, release: Release, part: int | None, on_progress: Callable[[float], None]
    ) -> Path:
        """Make the release's folder hold the manifest and what this member needs.

        Args:
            url: address of the hub.
            release: what to fetch.
            part: the node's part; None: the fusion and the heads, for an aggregator.
            on_progress: called with the share of the bytes that are there; may raise Cancelled.

        Returns:
            The folder.

        Raises:
            FetchError: the hub cannot be reached, or the connection was cut.
            ContentError: the hub does not have a file, or another one under its name, or the
                fleet's owner does not allow the release.
            BundleError: the manifest is not one, or not of this release, or has no such part; or a
                head of the release is damaged or belongs to other parts.
            OSError: the disk is full, or the folder cannot be written.
        """
        self._check(url, release)
        folder = self._store.folder(release.fingerprint)
        folder.mkdir(exist_ok=True)
        wanted = FileEntry(MANIFEST, release.manifest_size, release.manifest)
        self._have(url, folder, wanted, lambda _done: on_progress(0.0))
        if release.signature:
            write_file(folder / SIGNATURE, bytes.fromhex(release.signature))
        manifest = decode_manifest(folder / MANIFEST, (folder / MANIFEST).read_bytes())
        if manifest.fingerprint != release.fingerprint:
            raise BundleError(
                f"the manifest is of bundle {manifest.fingerprint}, release {release.number} says "
                f"{release.fingerprint}: push the bundle again"
            )
        entry = _entry(manifest, part)
        self._have(url, folder, entry, lambda done: on_progress(min(1.0, done / (entry.size or 1))))
        if part is None:
            fetch_heads(self._fetcher, url, folder, release.heads)
        on_progress(1.0)
        return folder

    def _have(
        self, url: str, folder: Path, entry: FileEntry, on_bytes: Callable[[int], None]
    ) -> None:
        path = folder / entry.file
        if path.is_file() and sha256_of(path) == entry.sha256:
            return
        copy = self._store.copy_of(entry.sha256)
        if copy is not None and copy != path and sha256_of(copy) == entry.sha256:
            _link(copy, path)
            return
        self._fetcher.fetch(url, entry, path, on_bytes=on_bytes)


def _entry(manifest: Manifest, part: int | None) -> FileEntry:
    if part is None:
        return manifest.fusion
    if part >= len(manifest.parts):
        raise BundleError(f"the bundle has {len(manifest.parts)} parts, there is no part {part}")
    return manifest.parts[part].weights


def _link(source: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:  # a file system without links
        shutil.copyfile(source, partial)
    partial.replace(target)
