"""A hub in the hands of a test: it says whatever it is told, signed by whatever key it has."""

import threading
from collections.abc import Sequence
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from securesystemslib.signer import Signer

from devit_iot.bundle.manifest import MANIFEST, file_entry
from devit_iot.bundle.reading import Bundle
from devit_iot.fleet.update_keys import UpdateKeys
from devit_iot.protocol.release import Release
from devit_iot.trust.metadata import (
    Allowed,
    sign_snapshot,
    sign_timestamp,
    signer_of,
    version_of,
)


def write_file(path: Path, content: bytes) -> None:
    """Write a file as the fleet's folder does."""
    path.write_bytes(content)


def allowed_of(number: int) -> Allowed:
    """A bundle that exists by its name only."""
    return Allowed(f"{number:016x}", f"{number:064x}", 1000 + number)


def allowed(bundle: Bundle) -> Allowed:
    """A bundle as the owner allows it."""
    entry = file_entry(bundle.path / MANIFEST)
    return Allowed(bundle.manifest.fingerprint, entry.sha256, entry.size)


def offer(wanted: Allowed, number: int = 1) -> Release:
    """A bundle as a hub offers it."""
    return Release(number, wanted.fingerprint, wanted.sha256, wanted.size, 2)


class SignedHub:
    """Serves ``/metadata`` and ``/files`` inside the ``with`` block.

    Args:
        keys: keys of the owner, the hub's among them.

    Attributes:
        metadata: file name -> content.
        files: SHA-256 -> content.
        signer: key of the hub.
        down: whether it answers nobody.
        version: version of the snapshot and timestamp that were signed last.
    """

    def __init__(self, keys: UpdateKeys) -> None:
        self.keys = keys
        self.metadata: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.signer: Signer = signer_of(keys.hub_key)
        self.down = False
        self.version = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def allow(self, bundles: Sequence[Allowed], *, days: float = 1.0) -> bytes:
        """Serve what the owner signs for now; the targets."""
        targets = self.keys.sign(bundles, self.keys.targets_version + 1, days)
        self.say(targets)
        return targets

    def say(self, targets: bytes, expires: datetime | None = None) -> None:
        """Name ``targets`` as the latest, whoever signed them."""
        self.version += 1
        for root in self.keys.roots:
            self.metadata[f"{version_of(root)}.root.json"] = root
        snapshot = sign_snapshot(self.version, targets, self.signer)
        self.metadata[f"{version_of(targets)}.targets.json"] = targets
        self.metadata[f"{self.version}.snapshot.json"] = snapshot
        self.metadata["timestamp.json"] = sign_timestamp(
            self.version, snapshot, self.signer, expires
        )

    def hold(self, bundle: Bundle) -> None:
        """Serve the files of a bundle."""
        for path in bundle.path.iterdir():
            self.files[file_entry(path).sha256] = path.read_bytes()

    def __enter__(self) -> Self:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, _, name = self.path.strip("/").partition("/")
                content = (hub.metadata if kind == "metadata" else hub.files).get(name)
                if hub.down:
                    return
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
