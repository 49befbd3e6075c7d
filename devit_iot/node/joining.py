"""A node without a part: it says that it is there, and waits for what the hub gives it."""

import logging
import threading

import msgspec

from devit_iot.protocol.status import NodeStatus, State
from devit_iot.protocol.topics import Topics
from devit_iot.service.durations import Durations
from devit_iot.service.status import INTERVAL_S, StatusReporter
from devit_iot.transport.base import Transport
from devit_iot.transport.refusals import Refusal

logger = logging.getLogger(__name__)


class Joining:
    """Is online and serves nothing until :meth:`stop`.

    Args:
        identity: status of a node without a bundle: its fingerprint is empty.
        transport: a connection that is not started; its will says that this node is offline.
        topics: topics of the fleet.

    Attributes:
        reporter: publishes its status.
        durations: always empty, since it computes nothing.
    """

    def __init__(self, identity: NodeStatus, transport: Transport, topics: Topics) -> None:
        self._identity = identity
        self._transport = transport
        self._stopping = threading.Event()
        self._refusal = Refusal(self.stop)
        self.durations: dict[str, Durations] = {}
        self.reporter = StatusReporter(transport, topics.node_status(identity.node), self._status)

    def run(self) -> None:
        """Wait until :meth:`stop`.

        Raises:
            BrokerError: the broker refused us for good.
        """
        logger.info("node %s has no part yet", self._identity.node)
        with self.reporter.connected(self._refusal):
            while not self._stopping.wait(INTERVAL_S):
                self.reporter.refresh()
        self._refusal.check()

    def stop(self) -> None:
        """Make :meth:`run` return soon."""
        self._stopping.set()

    def _status(self, state: State, age_s: float) -> NodeStatus:
        return msgspec.structs.replace(
            self._identity,
            state=state,
            uptime_s=age_s,
            unsent=self._transport.unsent,
            problem=self.reporter.problem,
        )
