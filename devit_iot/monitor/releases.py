"""How far a fleet is with its releases, from what the hub and the members say."""

import msgspec

from devit_iot.errors import MessageError
from devit_iot.protocol.hub_status import HubStatus
from devit_iot.protocol.release import Rollout, UpdateStatus
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message

MAX_MEMBERS = 2048


class MemberView(msgspec.Struct, frozen=True):
    """One node or aggregator that follows the hub.

    Attributes:
        name: the node's name; ``aggregator 0``.
        part: part that the hub gave a node; None: none, or an aggregator.
        duty: what it is there for: ``part``, ``spare``, ``fusion``.
        release: number of the release that its state is about; 0: none.
        progress: share of the bytes that are there, 0 to 1.
        serving: number of the release that it serves; 0: none.
        trial: whether that release is not known to be good yet.
    """

    name: str
    part: int | None
    duty: str
    release: int
    state: str
    progress: float
    attempt: int
    error: str
    serving: int
    trial: bool


class ReleasesView(msgspec.Struct, frozen=True):
    """The hub's side of a fleet at one moment.

    Attributes:
        hub: what the hub says of itself; None: there is no hub, or nobody may read it.
        current: number of the release that is good; 0: none.
        coming: number of the release that is installed or on trial; 0: none.
        activate: whether that one is served.
        canary: node that proves it before the others.
    """

    hub: HubStatus | None
    current: int
    coming: int
    activate: bool
    canary: str
    members: tuple[MemberView, ...]


class Releases:
    """Takes the hub's messages and updates; what it remembers is bounded.

    Args:
        topics: the fleet's topics.
    """

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._hub: HubStatus | None = None
        self._rollout: Rollout | None = None
        self._updates: dict[str, UpdateStatus] = {}

    @staticmethod
    def filters(topics: Topics) -> tuple[str, ...]:
        """MQTT filters of what :meth:`take` takes."""
        updates = (topics.node_update("+"), topics.aggregator_update("+"))
        return (topics.release, topics.hub_status, *updates)

    def take(self, message: Message) -> bool:
        """Look at a message; whether it is about releases.

        Raises:
            MessageError: it does not parse.
        """
        topic, payload = message.topic, message.payload
        gone = message.is_deletion
        if topic == self._topics.hub_status:
            self._hub = None if gone else HubStatus.decode(payload)
        elif topic == self._topics.release:
            self._rollout = None if gone else Rollout.decode(payload)
        elif topic.endswith("/update"):
            self._take_update(topic, None if gone else UpdateStatus.decode(payload))
        else:
            return False
        return True

    def view(self) -> ReleasesView:
        """The releases as they are now; members sorted by part and name."""
        rollout = self._rollout or Rollout("")
        wanted = rollout.wanted
        parts = wanted.members if wanted is not None else {}
        members = [_member(name, said, parts.get(name)) for name, said in self._updates.items()]
        return ReleasesView(
            hub=self._hub,
            current=rollout.current.number if rollout.current is not None else 0,
            coming=rollout.next.number if rollout.next is not None else 0,
            activate=rollout.activate,
            canary=rollout.canary,
            members=tuple(sorted(members, key=_order)),
        )

    def _take_update(self, topic: str, update: UpdateStatus | None) -> None:
        node = self._topics.node_of(topic)
        known = {self._topics.node_update(node): node}
        known[self._topics.aggregator_update(node)] = f"aggregator {node}"
        name = known.get(topic)
        if name is None:
            raise MessageError("topic", "neither a node's nor an aggregator's update")
        self._updates.pop(name, None)
        if update is not None:
            if len(self._updates) >= MAX_MEMBERS:
                del self._updates[next(iter(self._updates))]
            self._updates[name] = update


def _member(name: str, said: UpdateStatus, part: int | None) -> MemberView:
    is_node = " " not in name
    duty = "fusion" if not is_node else "spare" if part is None else "part"
    return MemberView(
        name=name,
        part=part,
        duty=duty,
        release=said.release,
        state=said.state,
        progress=min(1.0, max(0.0, said.progress)),
        attempt=said.attempt,
        error=said.error,
        serving=said.serving,
        trial=said.trial,
    )


def _order(member: MemberView) -> tuple[bool, bool, int, str]:
    is_part = member.part is not None
    return member.duty == "fusion", not is_part, member.part or 0, member.name
