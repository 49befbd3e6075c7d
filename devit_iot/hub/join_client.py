"""Adds boards and wheels to a hub, over HTTPS."""

import http.client
from pathlib import Path
from urllib.parse import quote

import msgspec

from devit_iot.errors import DevitError
from devit_iot.hub.client import HubClient
from devit_iot.hub.commands import Done
from devit_iot.hub.joins import JoinRequest
from devit_iot.hub.wheels import check_wheel_name


class JoinClient(HubClient):
    """The part of a hub that lets boards join, as seen from its owner's machine."""

    def allow(self, name: str, request: JoinRequest) -> None:
        """Let one board join as ``name``.

        Raises:
            DevitError: the hub cannot be reached, or says why not.
        """
        body = msgspec.json.encode(request)
        self._command("PUT", f"/joins/{quote(name, safe='')}", Done, body)

    def add_wheel(self, path: Path) -> Done:
        """Give the hub a wheel.

        Raises:
            DevitError: it is none, cannot be read, or the hub cannot be reached.
        """
        check_wheel_name(path.name)
        try:
            with path.open("rb") as file:
                status, said = self._ask("PUT", f"/wheels/{quote(path.name, safe='')}", file)
        except FileNotFoundError as error:
            raise DevitError(f"there is no file {path}") from error
        if status != http.client.OK:
            raise DevitError(f"the hub does not take {path}: {said or status}")
        return Done(f"the hub has {path.name}")
