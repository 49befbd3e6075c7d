"""Brings a head to the aggregators over MQTT, and hears what they say of it."""

import secrets
import threading

from devit_iot.bundle.head import decode_head
from devit_iot.bundle.head_files import HeadFiles
from devit_iot.errors import DevitError, MessageError
from devit_iot.protocol.head_message import HeadMessage, HeadReport, HeadsReport
from devit_iot.protocol.status import AggregatorStatus
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message, Transport


class LiveHeads:
    """The heads of a fleet as its aggregators report them. Safe to use from several threads.

    Args:
        transport: a connection that is not started.
        topics: the fleet's topics.
    """

    def __init__(self, transport: Transport, topics: Topics) -> None:
        self._transport = transport
        self._topics = topics
        self._lock = threading.Lock()
        self._reports: dict[str, HeadsReport] = {}
        self._online: set[str] = set()
        transport.subscribe(topics.aggregator_heads("+"), self._on_report, qos=1)
        transport.subscribe(topics.aggregator_status("+"), self._on_status, qos=1)

    @property
    def online(self) -> frozenset[str]:
        """Shards of the aggregators that say that they are online."""
        with self._lock:
            return frozenset(self._online)

    @property
    def reports(self) -> dict[str, HeadsReport]:
        """What each aggregator said last, by its shard."""
        with self._lock:
            return dict(sorted(self._reports.items()))

    def push(self, name: str, files: HeadFiles, cameras: tuple[str, ...] | None = None) -> str:
        """Say that a head shall answer; returns the id of this push.

        Args:
            name: name of the head.
            files: its files.
            cameras: cameras whose main head it becomes; None: those that it had.

        Raises:
            BundleError: the head is damaged.
            MessageError: it is too large for a message, or the broker does not take one so long.
        """
        version = decode_head(f"head '{name}'", files.manifest).fingerprint
        return self._say(name, HeadMessage(_new_id(), version, cameras, *files))

    def go_back(self, name: str) -> tuple[str, str]:
        """Say that the version before shall answer; returns the id of this push, and that version.

        A head that has no version before is taken from the cameras that it was given: the version
        is empty then.

        Raises:
            DevitError: no aggregator has such a head, or it answers already for no camera.
        """
        known = [r for report in self.reports.values() for r in report.heads if r.name == name]
        live = [report for report in known if report.version]
        if not live:
            names = sorted({h.name for report in self.reports.values() for h in report.heads})
            there = f"; heads: {', '.join(names)}" if names else ""
            raise DevitError(f"no aggregator says that head '{name}' answers{there}")
        before = next((report.before for report in live if report.before), "")
        if not before and not any(report.cameras for report in live):
            raise DevitError(
                f"head '{name}' has no version before, and the configuration gives it its cameras: "
                "change `head` or `heads` there"
            )
        return self._say(name, HeadMessage(_new_id(), before)), before

    def answers(self, push: str) -> dict[str, HeadReport]:
        """What aggregators said of one push, by their shard."""
        return {
            shard: head
            for shard, report in self.reports.items()
            for head in report.heads
            if head.push == push
        }

    def _say(self, name: str, message: HeadMessage) -> str:
        self._transport.publish(self._topics.head(name), message.encode(), qos=1, retain=True)
        return message.push

    def _on_report(self, message: Message) -> None:
        shard = self._topics.shard_of(message.topic)
        with self._lock:
            self._reports.pop(shard, None)
        if message.is_deletion:
            return
        try:
            report = HeadsReport.decode(message.payload)
        except MessageError:  # it is shown as if it had said nothing
            return
        with self._lock:
            self._reports[shard] = report

    def _on_status(self, message: Message) -> None:
        shard = self._topics.shard_of(message.topic)
        online = False
        if not message.is_deletion:
            try:
                online = AggregatorStatus.decode(message.payload).state == "online"
            except MessageError:
                return
        with self._lock:
            (self._online.add if online else self._online.discard)(shard)


def _new_id() -> str:
    return secrets.token_hex(4)
