"""A hub in this process: made of a configuration, alone or beside another service."""

import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from devit_iot.cli.common import Service
from devit_iot.config.config import Config, read_password
from devit_iot.config.listen import metrics_address
from devit_iot.config.updates import read_file
from devit_iot.errors import ConfigError, DevitError
from devit_iot.hub.conductor import Conductor
from devit_iot.hub.files import Files
from devit_iot.hub.hub import GONE, Hub
from devit_iot.hub.joins import Joins
from devit_iot.hub.limits import Limits
from devit_iot.hub.state import read_state
from devit_iot.hub.wheels import Wheels
from devit_iot.protocol.topics import Topics
from devit_iot.text_file import read_text
from devit_iot.transport.base import Will
from devit_iot.transport.mqtt import MqttTransport

if TYPE_CHECKING:
    from devit_iot.hub.repository import Repository

T = TypeVar("T")


@contextmanager
def open_hub(config: Config) -> Iterator[Hub]:
    """A hub whose files, and whose door for new boards, are served inside the block.

    Raises:
        ConfigError: with what to do about it.
    """
    from devit_iot.hub.join_server import Door, JoinServer, authority_der, open_context
    from devit_iot.hub.server import HubServer, Tls

    hub = config.hub
    if not hub.folder:
        raise ConfigError("no folder for the releases: give --hub-folder DIR")
    folder = Path(hub.folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = Files(folder / "files")
        token = _token(Path(hub.token_file or folder / "token"))
    except OSError as error:
        raise ConfigError(f"cannot use the hub's folder {folder}: {error.strerror}") from error
    service = _service(config, folder, files)
    tls = None
    if hub.cert_file:
        tls = Tls(hub.cert_file, hub.key_file, config.broker.ca_file, hub.crl_file)
    host, port = metrics_address(hub.listen, "hub.listen")
    with ExitStack() as stack:
        stack.enter_context(
            HubServer(host, port, files, service, token=token, downloads=hub.downloads, tls=tls)
        )
        if hub.join_listen:
            door = Door(
                Joins(folder / "joins", time.time),
                Wheels(folder / "wheels"),
                authority_der(config.broker.ca_file),
                token,
                None if tls is None else open_context(tls.cert_file, tls.key_file),
            )
            address = metrics_address(hub.join_listen, "hub.join_listen")
            stack.enter_context(JoinServer(address, door))
        yield service


class Beside(Generic[T]):
    """Runs a service, and a hub on a thread as long as it runs.

    Args:
        service: what the process is for.
        hub: what runs beside it.
    """

    def __init__(self, service: Service[T], hub: Hub) -> None:
        self._service = service
        self._hub = hub
        self._error: DevitError | None = None

    def run(self) -> T:
        """Serve until :meth:`stop`.

        Raises:
            BrokerError: the broker refused one of the two for good.
        """
        thread = threading.Thread(target=self._run_hub, name="hub")
        thread.start()
        try:
            outcome = self._service.run()
        finally:
            self._hub.stop()
            thread.join()
        if self._error is not None:
            raise self._error
        return outcome

    def stop(self) -> None:
        """Make :meth:`run` return soon."""
        self._service.stop()

    def _run_hub(self) -> None:
        try:
            self._hub.run()
        except DevitError as error:
            self._error = error
        finally:
            self._service.stop()


def _service(config: Config, folder: Path, files: Files) -> Hub:
    topics = Topics(config.fleet)
    limits = Limits(*(getattr(config.hub, name) for name in Limits._fields))
    state = read_state(folder, config.hub.url.rstrip("/"))
    transport = MqttTransport(
        config.broker,
        client_id=topics.hub_client_id,
        password=read_password(config.broker, os.environ),
        will=Will(topics.hub_status, GONE.encode()),
    )
    conductor = Conductor(state, limits, time.monotonic(), files.needs)
    signed = _repository(config, folder) if config.updates.root_file else None
    return Hub(
        conductor, folder, files, transport, topics=topics, trust=config.trust, signed=signed
    )


def _repository(config: Config, folder: Path) -> "Repository":
    from devit_iot.hub.repository import Repository

    if not config.updates.key_file:
        raise ConfigError("updates.root_file needs updates.key_file, the hub's own key")
    root = read_file(config.updates.root_file, "updates.root_file")
    key = read_file(config.updates.key_file, "updates.key_file")
    try:
        return Repository(folder / "metadata", root, key)
    except OSError as error:
        raise ConfigError(f"cannot use {folder / 'metadata'}: {error.strerror}") from error


def _token(path: Path) -> str:
    """The token in a file that only its owner reads; made if it is not there."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        token = read_text(path).strip()
        if not token:
            raise ConfigError(f"{path} is empty: delete it, the hub makes another one") from None
        return token
    with os.fdopen(handle, "w") as file:
        token = secrets.token_hex(32)
        file.write(token + "\n")
    return token
