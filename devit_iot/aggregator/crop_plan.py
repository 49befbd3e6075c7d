"""Tells the nodes which crops to compute, from within the aggregator."""

import logging

from devit_iot.aggregator.observer import Nobody
from devit_iot.errors import InputError, MessageError
from devit_iot.protocol.crop import CropPlan
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message, Transport

logger = logging.getLogger(__name__)


class CropPlanner(Nobody):
    """Keeps the retained message as this aggregator's configuration has it.

    It is published on connecting if it asks for anything, and where the broker retains another one:
    so a fleet that uses no crops sends nothing, and one that uses them no longer takes them back.

    Args:
        plan: what nodes are to compute.
        transport: a connection that is not started.
        topics: the fleet's topics.
    """

    def __init__(self, plan: CropPlan, transport: Transport, topics: Topics) -> None:
        self._plan = plan
        self._transport = transport
        self._topics = topics
        self._is_due = False
        transport.subscribe(topics.crops, self._on_plan, required=False)

    def connected(self) -> None:
        """There is a new connection; called on the network thread."""
        self._is_due = self._is_due or bool(self._plan.cameras)

    def refresh(self) -> None:
        """Publish the plan if that is due."""
        if not self._is_due:
            return
        self._is_due = False
        try:
            self._transport.publish(self._topics.crops, self._plan.encode(), qos=1, retain=True)
        except InputError as error:
            logger.warning("nodes are not told of crops: %s", error)

    def _on_plan(self, message: Message) -> None:
        if not message.retained:
            return
        try:
            is_ours = CropPlan.decode(message.payload) == self._plan
        except MessageError:  # nodes refuse it too
            is_ours = False
        self._is_due = self._is_due or not is_ours
