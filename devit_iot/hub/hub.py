"""The hub: hears the members, lets the conductor decide, saves, and says what is wanted."""

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from devit_iot.bundle.signature import verify
from devit_iot.errors import BundleError, DevitError, InputError, MessageError, TrustError
from devit_iot.hub.commands import Done, MemberView, PushRequest, SignedView, SignRequest, Status
from devit_iot.hub.conductor import Conductor
from devit_iot.hub.files import Files
from devit_iot.hub.known import Known
from devit_iot.hub.planned import PlannedParts
from devit_iot.hub.state import write_state
from devit_iot.hub.summary import summary
from devit_iot.protocol.hub_status import INSTALL, HubStatus
from devit_iot.protocol.label import Label
from devit_iot.protocol.release import Release, UpdateStatus
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.protocol.topics import Topics
from devit_iot.service.counters import Counters
from devit_iot.transport.base import Message, Transport
from devit_iot.transport.refusals import Refusal

logger = logging.getLogger(__name__)

GONE = HubStatus(state="offline")
"""The hub's last will, and what it says before it ends."""

_INTERVAL_S = 0.2


class Signed(Protocol):
    """What the fleet's owner allows; see :class:`devit_iot.hub.repository.Repository`."""

    @property
    def targets(self) -> bytes:
        """What was signed last."""

    def file(self, name: str) -> bytes | None:
        """A file of the metadata."""

    def accept(self, roots: Sequence[bytes], targets: bytes) -> None:
        """Serve what the owner signed, or raise DevitError."""

    def allows(self, release: Release) -> bool:
        """Whether a bundle may be installed."""


class Hub:
    """Runs until :meth:`stop`; a hub that was killed goes on where it was.

    Args:
        conductor: conductor with the state as it was saved.
        folder: where the state is saved.
        files: files of the releases.
        transport: a connection that is not started.
        topics: topics of the fleet.
        trust: public key that must have signed every bundle; empty: none need have.
        signed: what the fleet's owner allows; None: any bundle.
    """

    def __init__(
        self,
        conductor: Conductor,
        folder: Path,
        files: Files,
        transport: Transport,
        *,
        topics: Topics,
        trust: str,
        signed: Signed | None = None,
    ) -> None:
        self._conductor = conductor
        self._folder = folder
        self._files = files
        self._transport = transport
        self._topics = topics
        self._trust = trust
        self._signed = signed
        self._lock = threading.Lock()
        self._saved = conductor.state
        self._stopping = threading.Event()
        self._refusal = Refusal(self.stop)
        self._counters = Counters(logger)
        transport.subscribe(topics.node_statuses, self._on_message)
        transport.subscribe(topics.aggregator_status("+"), self._on_message)
        transport.subscribe(topics.node_update("+"), self._on_message, qos=1)
        transport.subscribe(topics.aggregator_update("+"), self._on_message, qos=1)
        transport.subscribe(topics.labels, self._on_message)
        transport.subscribe(topics.hub_command, self._on_command, qos=1, required=False)
        self._said: HubStatus | None = None

    def run(self) -> None:
        """Lead the fleet until :meth:`stop`.

        Raises:
            BrokerError: the broker refused us for good.
        """
        self._transport.start(on_ready=self._on_ready, on_refused=self._refusal)
        try:
            while not self._stopping.wait(_INTERVAL_S):
                with self._lock:
                    self._conductor.tick(time.monotonic())
                    self._keep()
                    self._say()
        finally:
            self._say_offline()
            self._transport.stop()
        self._refusal.check()

    def stop(self) -> None:
        """Make :meth:`run` return soon."""
        self._stopping.set()

    @property
    def paused(self) -> bool:
        """Whether no files are given out."""
        return self._conductor.state.rollout.paused

    def push(self, request: PushRequest) -> Done:
        """Go over to a bundle.

        Raises:
            DevitError: it cannot be, see :meth:`devit_iot.hub.conductor.Conductor.push`; or its
                files are not there, or it is not signed by who is trusted.
        """
        release, manifest = self._files.release(request.manifest, request.signature, request.heads)
        if self._trust and not verify(self._trust, manifest, bytes.fromhex(request.signature)):
            raise BundleError(
                f"the bundle is not signed by {self._trust}: sign it with `devit bundle sign`"
            )
        self._check_allowed(release, "push it with --folder FLEET, the fleet's folder")
        for head in request.heads if self._trust else ():
            text = self._files.head_manifest(head)
            if not verify(self._trust, text, bytes.fromhex(head.signature)):
                raise BundleError(
                    f"head '{head.name}' is not signed by {self._trust}: sign it with "
                    "`devit bundle sign`"
                )
        with self._lock:
            if request.offer:
                number = self._conductor.offer(release)
                self._keep()
                return Done(f"release {number}, bundle {release.fingerprint}, is offered", number)
            number = self._conductor.push(release, request.canary, time.monotonic())
            self._keep()
        return Done(f"release {number} is bundle {release.fingerprint}", number)

    def roll_back(self) -> Done:
        """End what is under way, or go back to the release before.

        Raises:
            DevitError: there is nothing to go back to.
        """
        with self._lock:
            state = self._conductor.state
            if state.rollout.next is None and state.previous is not None:
                self._check_allowed(state.previous, "allow it with `devit fleet sign BUNDLE`")
            said = self._conductor.roll_back(time.monotonic())
            self._keep()
            coming = self._conductor.state.rollout.next
        return Done(said, coming.number if coming is not None else 0)

    def metadata(self, name: str) -> bytes | None:
        """A file of the signed metadata; None if there is none of that name."""
        return self._signed.file(name) if self._signed is not None else None

    def sign(self, request: SignRequest) -> Done:
        """Take what the fleet's owner allows.

        Raises:
            DevitError: it is not by the owner, or older than what is here.
        """
        if self._signed is None:
            raise TrustError(
                "this hub has no root of trust: paste the line of `devit fleet add` on it"
            )
        self._signed.accept([root.encode() for root in request.roots], request.targets.encode())
        return Done("the hub has what you signed")

    def signed(self) -> SignedView | None:
        """What the owner allowed last; None: nobody signs in this fleet."""
        if self._signed is None:
            return None
        with self._lock:
            state = self._conductor.state
        named = (state.rollout.next, state.rollout.current, state.previous)
        kept = tuple(release.fingerprint for release in named if release is not None)
        return SignedView(self._signed.targets.decode(), kept)

    def _check_allowed(self, release: Release, advice: str) -> None:
        if self._signed is not None and not self._signed.allows(release):
            raise TrustError(
                f"the fleet's owner does not allow bundle {release.fingerprint}: {advice}"
            )

    def plan(self, planned: PlannedParts | None) -> Done:
        """Give boards their parts by a plan; None: by their strength.

        Raises:
            DevitError: the plan leaves out a part.
        """
        if planned is not None:
            planned.check()
        with self._lock:
            self._conductor.plan(planned)
            self._keep()
            absent = sorted(set(planned.members) - set(self._conductor.nodes)) if planned else []
        if planned is None:
            return Done("the hub has no plan: it chooses the boards")
        unknown = f"; not known yet: {', '.join(absent)}" if absent else ""
        return Done(f"the plan gives {len(planned.members)} boards their parts{unknown}")

    def pause(self, *, paused: bool) -> Done:
        """Give out no files and decide nothing, or go on."""
        with self._lock:
            self._conductor.pause(paused=paused)
            self._keep()
        return Done("paused" if paused else "goes on")

    def status(self) -> Status:
        """Where the fleet is."""
        with self._lock:
            state = self._conductor.state
            wanted = state.rollout.wanted
            parts = wanted.members if wanted is not None else {}
            nodes, aggregators = (
                {name: _view(known, parts.get(name)) for name, known in sorted(kind.items())}
                for kind in (self._conductor.nodes, self._conductor.aggregators)
            )
        return Status(state.rollout, state.outcome, nodes, aggregators, state.plan)

    def _keep(self) -> None:
        """Save what changed, and only then say it."""
        state = self._conductor.state
        if state == self._saved:
            return
        write_state(self._folder, state)
        if state.outcome != self._saved.outcome:
            logger.info("%s", state.outcome)
        before, self._saved = self._saved, state
        if state.rollout != before.rollout:
            self._publish()
        named = (state.rollout.current, state.rollout.next, state.previous, state.offered)
        if before.rollout.next is not None and state.rollout.next is None:
            self._files.keep(release for release in named if release is not None)

    def _on_ready(self) -> None:
        self._publish()
        self._said = None

    def _say(self) -> None:
        """Say where the fleet is, when that changed."""
        coming = self._conductor.state.rollout.next
        nodes = [self._conductor.nodes.get(n) for n in (coming.members if coming else ())]
        members = [*nodes, *self._conductor.aggregators.values()]
        followers = [known for known in members if known is not None and known.update is not None]
        status = summary(self._conductor.state, followers)
        if status != self._said:
            self._said = status
            topic = self._topics.hub_status
            self._transport.publish(topic, status.encode(), qos=1, retain=True)

    def _say_offline(self) -> None:
        if self._said is not None:
            self._transport.publish(self._topics.hub_status, GONE.encode(), qos=1, retain=True)

    def _on_command(self, message: Message) -> None:
        """Install what is offered; an old command that the broker kept counts for nothing."""
        if message.is_deletion or message.retained:
            return
        if message.payload != INSTALL:
            error = MessageError("json", f"{message.payload[:40]!r} is no command of the hub")
            self._counters.refuse(error, f"message on {message.topic!r}")
            return
        try:
            with self._lock:
                self._conductor.install(time.monotonic())
                self._keep()
        except (DevitError, OSError) as error:
            logger.warning("nothing is installed: %s", error)

    def _publish(self) -> None:
        self._transport.publish(
            self._topics.release, self._saved.rollout.encode(), qos=1, retain=True
        )

    def _on_message(self, message: Message) -> None:
        try:
            with self._lock:
                self._take(message, time.monotonic())
        except InputError as error:
            self._counters.refuse(error, f"message on {message.topic[:100]!r}")

    def _take(self, message: Message, now: float) -> None:
        conductor = self._conductor
        if self._topics.camera_of(message.topic):
            if not message.retained and not message.is_deletion:
                conductor.see_label(Label.decode(message.payload))
            return
        levels = message.topic.split("/")
        of_nodes = levels[3] == "nodes"
        kind = conductor.nodes if of_nodes else conductor.aggregators
        name = self._topics.node_of(message.topic)
        if message.is_deletion:
            kind.pop(name, None)
        elif levels[5] == "update":
            conductor.see_update(kind, name, UpdateStatus.decode(message.payload), now)
        else:
            status = (NodeStatus if of_nodes else AggregatorStatus).decode(message.payload)
            board = status.board if isinstance(status, NodeStatus) else None
            online = status.state == "online"
            known = conductor.known(kind, name, now)
            known.see_state(now, online=online, board=board)
            known.pinned = status.pinned if isinstance(status, NodeStatus) else None


def _view(known: Known, part: int | None) -> MemberView:
    return MemberView(known.online, part, known.update)
