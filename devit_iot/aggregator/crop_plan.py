"""Tells the nodes which crops to compute, from within the aggregator."""

import logging
import time
from collections.abc import Callable

from devit_iot.aggregator.observer import Nobody
from devit_iot.errors import ConfigError, InputError, MessageError
from devit_iot.protocol.crop import CropPlan
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import Message, Transport

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the heads are asked: a new version may look at another rectangle."""


class CropPlanner(Nobody):
    """Keeps the retained message as the configuration and the live heads have it.

    It is published on connecting if it asks for anything, when it changes, and where the broker
    retains another one: so a fleet that uses no crops sends nothing, and one that uses them no
    longer takes them back.

    Args:
        plan: what nodes are to compute now; None while nobody knows.
        transport: a connection that is not started.
        topics: the fleet's topics.
    """

    def __init__(
        self, plan: Callable[[], CropPlan | None], transport: Transport, topics: Topics
    ) -> None:
        self._ask = plan
        self._transport = transport
        self._topics = topics
        self._is_new = False  # nothing was said on this connection
        self._retained = CropPlan()  # what the broker has, as far as we know
        self._problem = ""
        self._look_at = 0.0
        transport.subscribe(topics.crops, self._on_plan, required=False)

    def connected(self) -> None:
        """There is a new connection; its broker may have lost its disk."""
        self._is_new = True
        self._look_at = 0.0

    def refresh(self) -> None:
        """Publish the plan if that is due."""
        now = time.monotonic()
        if now < self._look_at or not self._transport.connected:
            return
        self._look_at = now + LOOK_S
        plan = self._current()
        again = self._is_new and plan is not None and bool(plan.cameras)
        self._is_new = False
        if plan is None or (plan == self._retained and not again):
            return
        try:
            self._transport.publish(self._topics.crops, plan.encode(), qos=1, retain=True)
            self._retained = plan
        except InputError as error:
            self._say(f"nodes are not told of crops: {error}")

    def _current(self) -> CropPlan | None:
        try:
            return self._ask()
        except ConfigError as error:
            self._say(f"nodes are not told of new crops: {error}")
            return None

    def _say(self, problem: str) -> None:
        """Log a problem once, not every second."""
        if problem != self._problem:
            logger.warning("%s", problem)
        self._problem = problem

    def _on_plan(self, message: Message) -> None:
        """Note what the broker retains; on the network thread."""
        if not message.retained:
            return
        try:
            self._retained = CropPlan.decode(message.payload)
        except MessageError:  # nodes refuse it too
            self._retained = CropPlan(version=0)
        self._look_at = 0.0
