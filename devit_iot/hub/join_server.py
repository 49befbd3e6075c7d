"""The hub towards boards that have no certificate yet: their line, their files, their software.

GET  /join/ca.der          the fleet's authority; a board compares it with its line's fingerprint
GET  /join/board.py        the program that joins: :mod:`devit_iot.hub.board`
POST /join/<name>/ask      what a board is to install
POST /join/<name>/take     its files, for one board only
POST /join/<name>/end      the board keeps them
GET  /wheels/[<project>/]  the wheels as pip reads them
GET  /wheels/<file>        one of them
PUT  /wheels/<file>        add one
PUT  /joins/<name>         let a board join

A board shows the token of its line, whoever adds wheels or boards the hub's token, both as
``Authorization: Bearer <token>``. Nobody needs a certificate here.
"""

import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from devit_iot.errors import ConfigError, DevitError
from devit_iot.hub import board
from devit_iot.hub.commands import Done
from devit_iot.hub.http_thread import (
    FileResponse,
    HttpThread,
    Request,
    Response,
    Route,
    Starlette,
    has_token,
    json_answer,
    text_answer,
)
from devit_iot.hub.joins import JoinError, JoinRequest, Joins
from devit_iot.hub.wheels import Wheels
from devit_iot.protocol.text import shown
from devit_iot.text_file import read_text

logger = logging.getLogger(__name__)

_MAX_BODY = 256 * 2**10

Endpoint = Callable[[Request], Awaitable[Response]]


class _Board(msgspec.Struct, frozen=True):
    """What a board says of itself."""

    board: str


class Door(NamedTuple):
    """What the join server needs.

    Attributes:
        joins: the boards that may join.
        wheels: what they install.
        authority: certificate of the fleet's authority, DER.
        token: the hub's token.
        context: TLS; None behind a proxy that does it.
    """

    joins: Joins
    wheels: Wheels
    authority: bytes
    token: str
    context: ssl.SSLContext | None


class JoinServer:
    """Serves from a thread of its own inside the ``with`` block.

    Args:
        address: host and port to listen on; port 0 takes a free one.
        door: who is let in, and what they get.

    Attributes:
        port: the port.

    Raises:
        ConfigError: the address cannot be used.
    """

    def __init__(self, address: tuple[str, int], door: Door) -> None:
        self._door = door
        routes = [
            Route("/join/ca.der", self._authority, methods=["GET"]),
            Route("/join/board.py", _program, methods=["GET"]),
            Route("/join/{name}/ask", _answered(self._ask), methods=["POST"]),
            Route("/join/{name}/take", _answered(self._take), methods=["POST"]),
            Route("/join/{name}/end", _answered(self._end), methods=["POST"]),
            Route("/joins/{name}", _answered(self._commanded(self._allow)), methods=["PUT"]),
            Route("/wheels/", self._page, methods=["GET"]),
            Route("/wheels/{file}.whl", self._wheel, methods=["GET", "HEAD"]),
            Route("/wheels/{file}", _answered(self._commanded(self._put)), methods=["PUT"]),
            Route("/wheels/{project}/", self._page, methods=["GET"]),
        ]
        app = Starlette(routes=routes)
        self._http = HttpThread(app, address, "hub.join_listen", context=door.context)
        self.port = self._http.port

    def __enter__(self) -> Self:
        self._http.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.stop()

    async def _authority(self, _request: Request) -> Response:
        return Response(self._door.authority, media_type="application/pkix-cert")

    async def _ask(self, request: Request) -> Response:
        requirement = self._door.joins.ask(*await _who(request))
        return json_answer({"requirement": requirement})

    async def _take(self, request: Request) -> Response:
        files = self._door.joins.take(*await _who(request))
        return json_answer({"files": files})

    async def _end(self, request: Request) -> Response:
        name, token, board_id = await _who(request)
        self._door.joins.end(name, token, board_id)
        logger.info("a board has joined as %s", name)
        return json_answer(Done(f"{name} has joined"))

    async def _allow(self, request: Request) -> Response:
        name = request.path_params["name"]
        self._door.joins.allow(name, msgspec.json.decode(await _body(request), type=JoinRequest))
        return json_answer(Done(f"a board may join as {name}"))

    async def _page(self, request: Request) -> Response:
        page = self._door.wheels.page(request.path_params.get("project", ""))
        return Response(page, media_type="text/html; charset=utf-8")

    async def _wheel(self, request: Request) -> Response:
        path = self._door.wheels.path(request.path_params["file"] + ".whl")
        return text_answer(404, "no such wheel") if path is None else FileResponse(path)

    async def _put(self, request: Request) -> Response:
        name = request.path_params["file"]
        try:
            await self._door.wheels.take(name, request.stream())
        except OSError as error:
            return text_answer(507, f"the hub cannot keep the wheel: {error.strerror}")
        return json_answer(Done(f"the hub has {name}"))

    def _commanded(self, command: Endpoint) -> Endpoint:
        """Let in who has the hub's token."""

        async def endpoint(request: Request) -> Response:
            if not has_token(request, self._door.token):
                return text_answer(
                    401, "wrong token: it is in the hub's folder, in the file `token`"
                )
            return await command(request)

        return endpoint


def open_context(cert_file: str, key_file: str) -> ssl.SSLContext:
    """TLS of a server that asks nobody for a certificate.

    Raises:
        ConfigError: a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert_file, key_file, password="")
    except OSError as error:  # ssl's errors too
        raise ConfigError(f"cannot use hub.cert_file or hub.key_file: {error}") from error
    return context


def authority_der(ca_file: str) -> bytes:
    """The certificate in ``broker.ca_file``, DER.

    Raises:
        ConfigError: the file cannot be read, or does not hold one certificate.
    """
    try:
        return ssl.PEM_cert_to_DER_cert(read_text(Path(ca_file)).strip())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"boards join by the fleet's authority, and broker.ca_file '{ca_file}' cannot be used: "
            f"{error}"
        ) from error


async def _program(_request: Request) -> Response:
    return FileResponse(board.__file__, media_type="text/plain; charset=utf-8")


async def _who(request: Request) -> tuple[str, str, str]:
    """Name, token and board of a request."""
    said = msgspec.json.decode(await _body(request), type=_Board)
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return request.path_params["name"], token, said.board


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise DevitError("the request is too long")
    return body


def _answered(endpoint: Endpoint) -> Endpoint:
    """Say in one line what is wrong, here in the log and there."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except msgspec.DecodeError as error:
            return text_answer(400, f"the request does not parse: {error}")
        except DevitError as error:
            logger.warning("refused %s: %s", shown(request.url.path[:200]), error)
            return text_answer(error.status if isinstance(error, JoinError) else 409, str(error))

    return answer
