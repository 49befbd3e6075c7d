"""Tells a hub what to do, over HTTP."""

import http.client
import ssl
from contextlib import closing
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from devit_iot.bundle.head import HEAD, current_folder, head_names, read_head
from devit_iot.bundle.head_files import read_files
from devit_iot.bundle.manifest import MANIFEST, file_entry, sha256_of
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.signature import SIGNATURE
from devit_iot.errors import DevitError
from devit_iot.hub.commands import Done, PushRequest, SignedView, SignRequest, Status
from devit_iot.hub.planned import PlannedParts
from devit_iot.protocol.release import ReleaseHead

T = TypeVar("T")

_TIMEOUT_S = 60.0


class HubClient:
    """A hub as seen from a person's machine.

    Args:
        url: address of the hub.
        token: token that lies in the hub's folder.
        context: TLS of an https ``url``; None for http.
    """

    def __init__(self, url: str, token: str, context: ssl.SSLContext | None) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._context = context

    def signed(self) -> SignedView | None:
        """What the hub has of the fleet's owner; None: it asks for no signature.

        Raises:
            DevitError: the hub cannot be reached, or says why it does not.
        """
        status, said = self._ask("GET", "/signed")
        if status == http.client.NOT_FOUND:
            return None
        return self._decoded(status, said, SignedView)

    def sign(self, request: SignRequest) -> Done:
        """Say what the owner allows from now on.

        Raises:
            DevitError: the hub cannot be reached, or says why it does not.
        """
        return self._command("POST", "/signed", Done, msgspec.json.encode(request))

    def push(self, bundle: Bundle, canary: str, *, offer: bool = False) -> Done:
        """Upload what the hub does not have of ``bundle``, and go over to it, or only offer it.

        Raises:
            DevitError: the hub cannot be reached, or says why it does not.
        """
        manifest = bundle.manifest
        names = [part.weights.file for part in manifest.parts] + [manifest.fusion.file, MANIFEST]
        sums = {name: sha256_of(bundle.path / name) for name in names}
        for name, sha256 in sums.items():
            self._upload(bundle.path / name, sha256)
        signed = bundle.path / SIGNATURE
        signature = signed.read_bytes().hex() if signed.is_file() else ""
        heads = tuple(self._upload_head(bundle, name) for name in head_names(bundle)[1:])
        request = PushRequest(sums[MANIFEST], signature, canary, offer, heads)
        return self._command("POST", "/push", Done, msgspec.json.encode(request))

    def tell(self, command: str) -> Done:
        """Carry out ``rollback``, ``pause`` or ``resume``.

        Raises:
            DevitError: the hub cannot be reached, or says why it does not.
        """
        return self._command("POST", f"/{command}", Done)

    def plan(self, planned: PlannedParts | None) -> Done:
        """Let the hub give boards their parts by a plan; None: by their strength.

        Raises:
            DevitError: the hub cannot be reached, or says why it does not.
        """
        if planned is None:
            return self._command("DELETE", "/plan", Done)
        return self._command("PUT", "/plan", Done, msgspec.json.encode(planned))

    def status(self) -> Status:
        """Where the fleet is.

        Raises:
            DevitError: the hub cannot be reached.
        """
        return self._command("GET", "/status", Status)

    def _upload_head(self, bundle: Bundle, name: str) -> ReleaseHead:
        """Upload the live version of a head, verified."""
        read_head(bundle, name)
        folder = current_folder(bundle, name)
        manifest, files = read_files(folder)
        self._upload(folder / manifest.tensors.file, manifest.tensors.sha256)
        entry = file_entry(folder / HEAD)
        self._upload(folder / HEAD, entry.sha256)
        return ReleaseHead(name, entry.sha256, entry.size, files.signature.hex())

    def _upload(self, path: Path, sha256: str) -> None:
        status, _ = self._ask("HEAD", f"/files/{sha256}")
        if status != http.client.OK:
            with path.open("rb") as file:
                status, said = self._ask("PUT", f"/files/{sha256}", file)
            if status != http.client.CREATED:
                raise DevitError(f"the hub does not take {path}: {said or status}")

    def _command(self, method: str, path: str, kind: type[T], body: bytes | None = None) -> T:
        status, said = self._ask(method, path, body)
        return self._decoded(status, said, kind)

    def _decoded(self, status: int, said: str, kind: type[T]) -> T:
        if status != http.client.OK:
            raise DevitError(f"the hub refuses: {said or status}")
        try:
            return msgspec.json.decode(said, type=kind)
        except msgspec.DecodeError as error:
            raise DevitError(f"{self._url} does not answer as a hub: {error}") from error

    def _ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        parts = urlsplit(self._url)
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            with closing(self._connection(parts)) as connection:
                connection.request(method, parts.path + path, body, headers)  # type: ignore[arg-type]
                response = connection.getresponse()
                said = response.read().decode(errors="replace").strip()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise DevitError(f"the hub at {self._url} cannot be reached: {error}") from error
        return response.status, said

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        if parts.scheme == "https":
            return http.client.HTTPSConnection(
                host, parts.port, timeout=_TIMEOUT_S, context=self._context
            )
        return http.client.HTTPConnection(host, parts.port, timeout=_TIMEOUT_S)
