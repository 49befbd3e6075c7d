"""Who is told what an aggregator learns about its fleet, beside those who read its messages."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Protocol

from devit_iot.protocol.status import NodeStatus


class Observer(Protocol):
    """Told of nodes and cameras, on the aggregator's own thread but for :meth:`connected`."""

    def running(self) -> AbstractContextManager[None]:
        """What is open while the aggregator serves."""

    def connected(self) -> None:
        """There is a new connection to the broker; called on the network thread."""

    def see_node(self, name: str, status: NodeStatus) -> None:
        """A node of this fleet said that it is online."""

    def forget_node(self, name: str) -> None:
        """Somebody deleted a node's status: it is no member of the fleet any more."""

    def see_camera(self, camera: str, heads: Mapping[str, Sequence[str]]) -> None:
        """A label of this camera was published.

        Args:
            camera: name of the camera.
            heads: its heads with their classes, the main one first.
        """

    def refresh(self) -> None:
        """About a second passed, or a message was handled."""


class Nobody:
    """The observer of an aggregator that nobody observes."""

    def running(self) -> AbstractContextManager[None]:
        """Open nothing."""
        return nullcontext()

    def connected(self) -> None:
        """Do nothing."""

    def see_node(self, name: str, status: NodeStatus) -> None:
        """Do nothing."""

    def forget_node(self, name: str) -> None:
        """Do nothing."""

    def see_camera(self, camera: str, heads: Mapping[str, Sequence[str]]) -> None:
        """Do nothing."""

    def refresh(self) -> None:
        """Do nothing."""


class Observers:
    """Several observers as one, told in their order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    @contextmanager
    def running(self) -> Iterator[None]:
        """Open what all of them open."""
        with ExitStack() as stack:
            for observer in self._observers:
                stack.enter_context(observer.running())
            yield

    def connected(self) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.connected()

    def see_node(self, name: str, status: NodeStatus) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.see_node(name, status)

    def forget_node(self, name: str) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.forget_node(name)

    def see_camera(self, camera: str, heads: Mapping[str, Sequence[str]]) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.see_camera(camera, heads)

    def refresh(self) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.refresh()
