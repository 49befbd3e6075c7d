"""The hub over HTTP: files for members, commands for whoever has the hub's token.

GET  /files/<sha256>   a file, also from the middle (Range); ETag is its SHA-256
PUT  /files/<sha256>   upload one
POST /push             go over to a bundle whose files are there
GET  /metadata/<name>  signed metadata of the releases, in a fleet whose owner signs for them
POST /signed           what the owner allows from now on
GET  /signed           what the owner allowed last
PUT  /plan             give boards their parts by a plan
DELETE /plan           give them by their strength again
POST /rollback, /pause, /resume
GET  /status           where the fleet is

All but GET of files and metadata need ``Authorization: Bearer <token>``. The only user of starlette
and uvicorn.
"""

import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple, Protocol, Self

import msgspec

from devit_iot.errors import ConfigError, DevitError
from devit_iot.hub.commands import Done, PushRequest, SignedView, SignRequest, Status
from devit_iot.hub.files import Files
from devit_iot.hub.http_thread import HttpThread, has_token, json_answer, text_answer
from devit_iot.hub.planned import PlannedParts

try:
    import anyio
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, Response
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send
except ImportError as missing:
    raise ConfigError(
        f"the hub needs starlette and uvicorn ({missing}): pip install 'devit-iot[hub]'"
    ) from missing

_TURN_S = 60.0
"""A download that takes longer is cut, and goes on when its turn comes again."""

_MAX_COMMAND_BYTES = 64 * 2**10
_MAX_SIGNED_BYTES = 2**20
_MAX_PLAN_BYTES = 2**20


class Commands(Protocol):
    """What a person may tell the hub; each raises DevitError if it cannot be done."""

    def push(self, request: PushRequest) -> Done:
        """Go over to a bundle."""

    def metadata(self, name: str) -> bytes | None:
        """A file of the signed metadata; None if there is none of that name."""

    def sign(self, request: SignRequest) -> Done:
        """Take what the owner allows."""

    def signed(self) -> SignedView | None:
        """What the owner allowed last; None: nobody signs in this fleet."""

    def roll_back(self) -> Done:
        """Go back."""

    def plan(self, planned: PlannedParts | None) -> Done:
        """Give boards their parts by a plan; None: by their strength."""

    def pause(self, *, paused: bool) -> Done:
        """Decide nothing, or go on."""

    def status(self) -> Status:
        """Where the fleet is."""

    @property
    def paused(self) -> bool:
        """Whether no files are given out."""


class Tls(NamedTuple):
    """Files of a server that lets in whoever shows a certificate of ``ca_file``.

    Attributes:
        crl_file: certificates that were revoked; empty: none were.
    """

    cert_file: str
    key_file: str
    ca_file: str
    crl_file: str


class HubServer:
    """Serves from a thread of its own inside the ``with`` block.

    Args:
        host: address to listen on.
        port: 0 takes a free one.
        files: files of the releases.
        commands: what carries commands out.
        token: token of those who may command.
        downloads: number of files that are sent at once.
        tls: certificates; None: plain HTTP.

    Raises:
        ConfigError: the address or a file cannot be used.
    """

    def __init__(
        self,
        host: str,
        port: int,
        files: Files,
        commands: Commands,
        *,
        token: str,
        downloads: int,
        tls: Tls | None,
    ) -> None:
        self._files = files
        self._commands = commands
        self._token = token
        self._free = downloads
        routes = [
            Route("/files/{sha256}", self._get, methods=["GET", "HEAD"]),
            Route("/files/{sha256}", self._commanded(self._put), methods=["PUT"]),
            Route("/metadata/{name}", self._metadata, methods=["GET"]),
            Route("/signed", self._commanded(self._sign), methods=["POST"]),
            Route("/signed", self._commanded(self._signed), methods=["GET"]),
            Route("/push", self._commanded(self._push), methods=["POST"]),
            Route("/rollback", self._commanded(self._roll_back), methods=["POST"]),
            Route("/plan", self._commanded(self._plan), methods=["PUT", "DELETE"]),
            Route("/pause", self._commanded(self._pause), methods=["POST"]),
            Route("/resume", self._commanded(self._resume), methods=["POST"]),
            Route("/status", self._commanded(self._status), methods=["GET"]),
        ]
        self._http = HttpThread(
            Starlette(routes=routes),
            (host, port),
            "hub.listen",
            context=None if tls is None else _context(tls),
        )
        self.port = self._http.port

    def __enter__(self) -> Self:
        self._http.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.stop()

    async def _get(self, request: Request) -> Response:
        sha256 = request.path_params["sha256"]
        path = self._files.path(sha256)
        if path is None:
            return text_answer(404, "no such file")
        headers = {"ETag": f'"{sha256}"', "Cache-Control": "public, max-age=31536000, immutable"}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        if request.method == "HEAD":
            return FileResponse(path, headers=headers)
        if self._commands.paused or self._free <= 0:
            return Response(status_code=503, headers={"Retry-After": "1"})
        return _Turn(self, FileResponse(path, headers=headers))

    async def _metadata(self, request: Request) -> Response:
        try:
            content = self._commands.metadata(request.path_params["name"])
        except OSError as error:
            return text_answer(507, f"the hub cannot use its metadata: {error.strerror}")
        if content is None:
            return text_answer(404, "no such metadata")
        return Response(content, headers={"Cache-Control": "no-cache"})

    async def _sign(self, request: Request) -> Response:
        body = await _body(request.stream(), _MAX_SIGNED_BYTES)
        try:
            wanted = msgspec.json.decode(body, type=SignRequest)
        except msgspec.DecodeError as error:
            return text_answer(400, f"what was signed does not parse: {error}")
        return json_answer(self._commands.sign(wanted))

    async def _signed(self, _request: Request) -> Response:
        signed = self._commands.signed()
        return text_answer(404, "nobody signs here") if signed is None else json_answer(signed)

    async def _put(self, request: Request) -> Response:
        try:
            await self._files.take(request.path_params["sha256"], request.stream())
        except OSError as error:
            return text_answer(507, f"the hub cannot keep the file: {error.strerror}")
        return Response(status_code=201)

    async def _push(self, request: Request) -> Response:
        try:
            wanted = msgspec.json.decode(
                await _body(request.stream(), _MAX_COMMAND_BYTES), type=PushRequest
            )
        except msgspec.DecodeError as error:
            return text_answer(400, f"the push does not parse: {error}")
        return json_answer(self._commands.push(wanted))

    async def _plan(self, request: Request) -> Response:
        if request.method == "DELETE":
            return json_answer(self._commands.plan(None))
        body = await _body(request.stream(), _MAX_PLAN_BYTES)
        try:
            wanted = msgspec.json.decode(body, type=PlannedParts)
        except msgspec.DecodeError as error:
            return text_answer(400, f"the plan does not parse: {error}")
        return json_answer(self._commands.plan(wanted))

    async def _roll_back(self, _request: Request) -> Response:
        return json_answer(self._commands.roll_back())

    async def _pause(self, _request: Request) -> Response:
        return json_answer(self._commands.pause(paused=True))

    async def _resume(self, _request: Request) -> Response:
        return json_answer(self._commands.pause(paused=False))

    async def _status(self, _request: Request) -> Response:
        return json_answer(self._commands.status())

    def _commanded(self, command: Callable[[Request], Any]) -> Callable[[Request], Any]:
        """Let in who has the token, and answer with what is wrong."""

        async def endpoint(request: Request) -> Response:
            if not has_token(request, self._token):
                return text_answer(
                    401, "wrong token: it is in the hub's folder, in the file `token`"
                )
            try:
                response: Response = await command(request)
            except DevitError as error:
                return text_answer(409, str(error))
            return response

        return endpoint


class _Turn(Response):
    """A download while it has one of the few places.

    A member that vanished without a word would keep its place until TCP gives up, so the turn ends.
    """

    def __init__(self, server: HubServer, download: FileResponse) -> None:
        self._server = server
        self._download = download

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._server._free -= 1  # noqa: SLF001 - on the same thread
        try:
            with anyio.move_on_after(_TURN_S):
                await self._download(scope, receive, send)
        finally:
            self._server._free += 1  # noqa: SLF001


async def _body(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    body = b""
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise DevitError("the command is too long")
    return body


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(tls.ca_file)
        if tls.crl_file:
            context.load_verify_locations(tls.crl_file)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        context.load_cert_chain(tls.cert_file, tls.key_file, password="")
    except OSError as error:  # ssl's errors too
        raise ConfigError(
            f"cannot use hub.cert_file, key_file, crl_file or broker.ca_file: {error}"
        ) from error
    return context
