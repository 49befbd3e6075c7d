"""Takes heads that come over MQTT: checked, on the disk for good, then live between two images."""

import logging
import threading

import msgspec

from devit_iot.aggregator.fusions import Fusions
from devit_iot.aggregator.heads import CameraHeads
from devit_iot.aggregator.observer import Nobody
from devit_iot.bundle.checked_file import read_manifest
from devit_iot.bundle.head import (
    FOLDER,
    HEAD,
    check_head_name,
    decode_head,
    head_names,
    live_version,
    version_before,
)
from devit_iot.bundle.head_cameras import cameras_of, give_cameras
from devit_iot.bundle.head_files import HeadFiles
from devit_iot.bundle.head_writing import make_live, put_head
from devit_iot.errors import BundleError, ConfigError, DevitError, MessageError
from devit_iot.protocol.head_message import (
    MAX_HEAD_MESSAGE,
    MAX_HEADS,
    HeadMessage,
    HeadReport,
    HeadsReport,
)
from devit_iot.protocol.label import DEFAULT_HEAD
from devit_iot.protocol.topics import Topics
from devit_iot.service.counters import Counters
from devit_iot.transport.base import Message, Transport

logger = logging.getLogger(__name__)

_MAX_WAITING_BYTES = 2 * MAX_HEAD_MESSAGE


class HeadTaker(Nobody):
    """An observer of an aggregator that takes heads while the aggregator rests.

    A head that is refused costs one line in the log and in the report; the old one goes on. It is
    tried again when another bundle comes, which may have the parts that it is for.

    Args:
        fusions: bundles that the aggregator has, with the heads that answer.
        transport: the aggregator's connection, not started.
        topics: the fleet's topics.
        shard: index of the aggregator's shard.
        counters: counters of the aggregator.
    """

    def __init__(
        self,
        fusions: Fusions,
        transport: Transport,
        *,
        topics: Topics,
        shard: int,
        counters: Counters,
    ) -> None:
        self._fusions = fusions
        self._transport = transport
        self._topics = topics
        self._own = topics.aggregator_heads(shard)
        self._lock = threading.Lock()
        self._waiting: dict[str, bytes] = {}
        self._refused: dict[str, bytes] = {}
        self._changes = fusions.changes
        self._last: dict[str, HeadReport] = {}
        self._connected = False
        self._reports = False
        self._said: HeadsReport | None = None
        self._counters = counters
        # An access list of an older release does not let an aggregator read this.
        transport.subscribe(topics.heads, self._on_message, qos=1, required=False)

    def connected(self) -> None:
        """Say again which heads answer: the broker may have lost it."""
        self._connected = True
        self._said = None

    def refresh(self) -> None:
        """Take one head that waits, and say what changed."""
        if self._changes != self._fusions.changes:
            self._changes = self._fusions.changes
            with self._lock:
                self._waiting = self._refused | self._waiting
                self._refused = {}
            self._said = None
        with self._lock:
            name = next(iter(self._waiting), None)
            payload = b"" if name is None else self._waiting.pop(name)
        if name is not None:
            self._take(name, payload)
            self._said = None
        if self._connected and self._said is None:
            self._report()

    def _on_message(self, message: Message) -> None:
        """Keep the latest message of each head; on the network thread."""
        name = self._topics.last_level(message.topic)
        if message.is_deletion:
            return
        try:
            check_head_name(name)
            self._keep(name, message.payload)
        except ConfigError as error:
            self._counters.refuse(MessageError("head", str(error)), "head")
        except MessageError as error:
            self._counters.refuse(error, f"head {name}")

    def _keep(self, name: str, payload: bytes) -> None:
        if len(payload) > MAX_HEAD_MESSAGE:
            raise MessageError("too_large", f"HeadMessage of {len(payload)} bytes")
        with self._lock:
            self._refused.pop(name, None)
            others = _total(self._waiting) - len(self._waiting.get(name, b""))
            if others and others + len(payload) > _MAX_WAITING_BYTES:
                raise MessageError("overload", "too many heads at once; push it again")
            self._waiting[name] = payload

    def _take(self, name: str, payload: bytes) -> None:
        push = ""
        try:
            message = HeadMessage.decode(payload)
            push = message.push
            self._apply(name, payload, message)
        except DevitError as error:
            problem = " ".join(str(error).split())[:500]
            refused = error if isinstance(error, MessageError) else MessageError("head", problem)
            self._counters.refuse(refused, f"head {name}")
            self._note(HeadReport(name, push=push, problem=problem))
        else:
            self._note(HeadReport(name, push=push))

    def _note(self, last: HeadReport) -> None:
        """Remember how the last message about a head ended; of few heads, the latest."""
        self._last.pop(last.name, None)
        self._last[last.name] = last
        while len(self._last) > MAX_HEADS:
            del self._last[next(iter(self._last))]

    def _apply(self, name: str, payload: bytes, message: HeadMessage) -> None:
        if name == DEFAULT_HEAD:
            raise BundleError(f"'{DEFAULT_HEAD}' is the bundle's own fusion; choose another name")
        bundles = self._fusions.all
        files = HeadFiles(message.manifest, message.signature, message.tensors)
        refusal: BundleError | None = None
        taken: list[CameraHeads] = []
        for heads in bundles:
            try:
                _change(heads, name, message, files)
                taken.append(heads)
            except BundleError as error:
                refusal = error
        for heads in taken:
            heads.look_again()
        if taken:
            version = message.version or "taken back"
            logger.info("head %s: %s", name, version)
            return
        with self._lock:
            self._refused.setdefault(name, payload)
            while len(self._refused) > MAX_HEADS or _total(self._refused) > MAX_HEAD_MESSAGE:
                del self._refused[next(iter(self._refused))]
        raise refusal or BundleError("no bundle is here yet; the head waits for one")

    def _report(self) -> None:
        bundles = self._fusions.all
        found = {} if not bundles else {h.name: h for h in _heads(bundles[-1])}
        for name, last in self._last.items():
            known = found.get(name, HeadReport(name))
            found[name] = msgspec.structs.replace(known, push=last.push, problem=last.problem)
        self._said = HeadsReport(tuple(found[name] for name in sorted(found)))
        # Who has no head beside the bundle's own is asked for no new right at the broker.
        self._reports = self._reports or bool(found)
        if self._reports:
            self._publish(self._said)

    def _publish(self, report: HeadsReport) -> None:
        self._transport.publish(self._own, report.encode_short(), qos=1, retain=True)


def _change(heads: CameraHeads, name: str, message: HeadMessage, files: HeadFiles) -> None:
    """Do beside one bundle what a message says."""
    bundle = heads.bundle
    if not message.version:
        give_cameras(bundle, name, ())
        return
    names = head_names(bundle)
    if name not in names and len(names) > MAX_HEADS:
        raise BundleError(f"head '{name}' is refused: {MAX_HEADS} heads are here already")
    if message.manifest:
        version = decode_head(f"head '{name}'", message.manifest).fingerprint
        if version != message.version:
            raise BundleError(
                f"head '{name}' is version {version}, its message says {message.version}"
            )
        if live_or_none(heads, name) != version:
            put_head(bundle, name, files)
    else:
        try:
            make_live(bundle, name, message.version)
        except BundleError as error:
            raise BundleError(
                f"version {message.version} of head '{name}' cannot be had: {error}; push it again"
            ) from error
    if message.cameras is not None and message.cameras != cameras_of(bundle, name):
        give_cameras(bundle, name, message.cameras)


def live_or_none(heads: CameraHeads, name: str) -> str:
    """The version of a head that is live beside a bundle; empty if there is none."""
    try:
        return live_version(heads.bundle, name)
    except BundleError:
        return ""


def _heads(heads: CameraHeads) -> list[HeadReport]:
    """What is beside one bundle, as far as it can be read."""
    bundle = heads.bundle
    found = []
    for name in [name for name in head_names(bundle) if name != DEFAULT_HEAD][:MAX_HEADS]:
        version = live_or_none(heads, name)
        report = HeadReport(
            name,
            version if heads.answers(name) else "",
            version_before(bundle, name),
            cameras_of(bundle, name),
        )
        try:
            path = bundle.path / FOLDER / name / version / HEAD
            head = decode_head(path, read_manifest(path, "head"))
        except BundleError as error:
            found.append(msgspec.structs.replace(report, problem=str(error)[:500]))
            continue
        found.append(
            msgspec.structs.replace(
                report,
                classes=len(head.classes),
                images=sum(head.fit.images),
                accuracy=head.fit.accuracy,
            )
        )
    return found


def _total(messages: dict[str, bytes]) -> int:
    return sum(map(len, messages.values()))
