"""The files of all releases, each under the SHA-256 of its content."""

import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from devit_iot.bundle.head import decode_head
from devit_iot.bundle.manifest import Manifest, decode_manifest
from devit_iot.bundle.memory import part_bytes
from devit_iot.errors import BundleError
from devit_iot.protocol.release import Release, ReleaseHead
from devit_iot.updates.durable import settle

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_MANIFEST_BYTES = 16 * 2**20


class Files:
    """A folder of files by content.

    Args:
        folder: made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._needs: dict[str, tuple[int, ...]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.partial-*"):  # uploads that did not end
            left.unlink()

    def path(self, sha256: str) -> Path | None:
        """Where a file is; None if it is not there."""
        if not _SHA256.fullmatch(sha256):  # no path may lead out of the folder
            return None
        path = self._folder / sha256
        return path if path.is_file() else None

    async def take(self, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep a file that is uploaded.

        Raises:
            BundleError: it has another content than its name says.
            OSError: the disk is full.
        """
        partial = self._folder / f"{sha256}.partial-{secrets.token_hex(4)}"
        digest = hashlib.sha256()
        try:
            with partial.open("xb") as file:
                async for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != sha256:
                raise BundleError(f"what came as {sha256[:12]} has another content; push again")
            settle(partial, self._folder / sha256)
        finally:
            partial.unlink(missing_ok=True)

    def release(
        self, manifest_sha256: str, signature: str, heads: tuple[ReleaseHead, ...] = ()
    ) -> tuple[Release, bytes]:
        """A release without number and members, and its manifest's bytes.

        Raises:
            BundleError: the manifest or a file of it is missing, or it is no manifest.
        """
        path = self.path(manifest_sha256)
        if path is None or path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError("the manifest was not uploaded; push again")
        content = path.read_bytes()
        manifest = decode_manifest(path, content)
        wanted = (*_contents(manifest), *(sha256 for head in heads for sha256 in self._of(head)))
        missing = [sha256 for sha256 in wanted if self.path(sha256) is None]
        if missing:
            raise BundleError(f"{len(missing)} files of the bundle were not uploaded; push again")
        parts = len(manifest.parts)
        release = Release(
            0,
            manifest.fingerprint,
            manifest_sha256,
            len(content),
            parts,
            signature,
            heads=heads,
        )
        return release, content

    def needs(self, release: Release) -> tuple[int, ...]:
        """MiB that each part of a release takes on its node; 0: the manifest is not here."""
        if release.manifest not in self._needs:
            path = self.path(release.manifest)
            if path is None:
                return (0,) * release.parts
            manifest = decode_manifest(path, path.read_bytes())
            self._needs = {  # this release alone: there are seldom two
                release.manifest: tuple(
                    -(-part_bytes(part.spec, part.weights.size, part.dtype) // 2**20)
                    for part in manifest.parts
                )
            }
        return self._needs[release.manifest]

    def head_manifest(self, head: ReleaseHead) -> bytes:
        """The head.json of a head that comes with a release.

        Raises:
            BundleError: it was not uploaded, or has another size.
        """
        path = self.path(head.manifest)
        if path is None or path.stat().st_size != head.manifest_size > 0:
            raise BundleError(f"head '{head.name}' was not uploaded; push again")
        return path.read_bytes()

    def _of(self, head: ReleaseHead) -> tuple[str, str]:
        """The contents of a head's two files."""
        found = decode_head(f"head '{head.name}'", self.head_manifest(head))
        return head.manifest, found.tensors.sha256

    def keep(self, releases: Iterable[Release]) -> None:
        """Remove what no release of these needs."""
        wanted = set()
        for release in releases:
            path = self.path(release.manifest)
            if path is not None:
                wanted |= {release.manifest, *_contents(decode_manifest(path, path.read_bytes()))}
            for head in release.heads:
                if self.path(head.manifest) is not None:
                    wanted.update(self._of(head))
        for path in self._folder.iterdir():
            if _SHA256.fullmatch(path.name) and path.name not in wanted:
                path.unlink()


def _contents(manifest: Manifest) -> list[str]:
    return [*(part.weights.sha256 for part in manifest.parts), manifest.fusion.sha256]
