"""Who is told what an aggregator learns about its fleet, beside those who read its messages."""

from collections.abc import Sequence
from typing import Protocol

from devit_iot.protocol.status import NodeStatus


class Observer(Protocol):
    """Told of nodes and cameras, on the aggregator's own thread but for :meth:`connected`."""

    def connected(self) -> None:
        """There is a new connection to the broker; called on the network thread."""

    def see_node(self, name: str, status: NodeStatus) -> None:
        """A node of this fleet said that it is online."""

    def forget_node(self, name: str) -> None:
        """Somebody deleted a node's status: it is no member of the fleet any more."""

    def see_camera(self, camera: str) -> None:
        """A label of this camera was published."""

    def refresh(self) -> None:
        """About a second passed, or a message was handled."""


class Nobody:
    """The observer of an aggregator that nobody observes."""

    def connected(self) -> None:
        """Do nothing."""

    def see_node(self, name: str, status: NodeStatus) -> None:
        """Do nothing."""

    def forget_node(self, name: str) -> None:
        """Do nothing."""

    def see_camera(self, camera: str) -> None:
        """Do nothing."""

    def refresh(self) -> None:
        """Do nothing."""


class Everybody:
    """Several observers as one, told in turn."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def connected(self) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.connected()

    def see_node(self, name: str, status: NodeStatus) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.see_node(name, status)

    def forget_node(self, name: str) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.forget_node(name)

    def see_camera(self, camera: str) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.see_camera(camera)

    def refresh(self) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.refresh()
