"""The composition root of a fleet with a hub: members whose bundles are fetched, not copied."""

import logging
import os
import platform
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from devit_iot import __version__
from devit_iot.build import (
    EXIT_HUNG,
    board_of,
    has_room,
    load_part,
    member_transport,
    node_of,
    node_transport,
    pinned_part,
)
from devit_iot.bundle.reading import Bundle
from devit_iot.config.config import Config
from devit_iot.config.updates import Expiry, read_file
from devit_iot.errors import BundleError, DevitError
from devit_iot.node.computing import Served
from devit_iot.node.joining import Joining
from devit_iot.node.membership import Membership
from devit_iot.node.node import Node
from devit_iot.protocol.board import BoardProfile
from devit_iot.protocol.release import Rollout, UpdateStatus
from devit_iot.protocol.status import NodeStatus
from devit_iot.protocol.topics import Topics
from devit_iot.transport.base import NO_SESSION, Transport
from devit_iot.transport.tls import client_context
from devit_iot.trust.clock import follows_time_server
from devit_iot.updates.fetch import Fetcher
from devit_iot.updates.installer import Installer
from devit_iot.updates.managed import Hang, Managed, Service
from devit_iot.updates.store import Held, Store
from devit_iot.updates.updater import Member, Serving, Updater

if TYPE_CHECKING:
    from devit_iot.aggregator.aggregator import Aggregator
    from devit_iot.aggregator.heads import CameraHeads

logger = logging.getLogger(__name__)

T = TypeVar("T")

_HANGS = 2.0
"""Loading a bundle may take so much longer than an image: it ends with one, the golden one."""


def build_member(config: Config, environment: Mapping[str, str]) -> tuple[Membership, Store]:
    """A node that serves what its store has, or waits for what the hub gives it.

    Raises:
        ConfigError: with what to do about it.
    """
    store = Store(Path(config.store))
    load = partial(_load_part, config)
    serving = _begin(store, load)
    topics = Topics(config.fleet)

    def go_on_with(coming: Serving[Served] | None) -> None:
        membership.go_on_with(coming)  # it is made below

    def restart() -> None:
        membership.restart()

    def build(serving: Serving[Served] | None) -> Managed[Served]:
        if serving is None:
            bare = _bare(config)
            transport = member_transport(config, environment, bare, NO_SESSION)
            joining = Joining(bare, transport, topics)
            join = Member(config.node_name, load, go_on_with, _nothing)
            return _managed(config, joining, transport, store, join, None)
        if serving.content is None:
            raise ValueError("what a node begins with is loaded")
        transport = node_transport(config, environment, serving.content.identity)
        node = node_of(config, serving.content, transport)
        seat = _Seat(config, store, node, serving.held, restart)
        member = Member(config.node_name, seat.load, seat.serve, partial(go_on_with, None))
        return _managed(config, node, transport, store, member, serving)

    membership = Membership(build, serving)
    return membership, store


class _Seat:
    """What a node that serves does with another release."""

    def __init__(
        self, config: Config, store: Store, node: Node, held: Held, restart: Callable[[], None]
    ) -> None:
        self._config = config
        self._store = store
        self._node = node
        self._held = held
        self._restart = restart

    def load(self, folder: Path, held: Held) -> Served | None:
        """The part, proven; None if there is no room for it, but its file is sound."""
        bundle = Bundle(folder, trust=self._config.trust)
        served = Bundle(self._store.folder(self._held.fingerprint))
        part = held.part or 0
        if not has_room(self._config, bundle.part(part), served.part(self._held.part or 0)):
            bundle.read_part(part)
            return None
        return _load_part(self._config, folder, held)

    def serve(self, serving: Serving[Served]) -> None:
        """Go over to what was loaded, or start again with what could not be."""
        if serving.content is None:
            self._restart()
            return
        self._held = serving.held
        self._node.serve(serving.content)


def build_managed_aggregator(
    config: Config, environment: Mapping[str, str]
) -> "tuple[Managed[CameraHeads], Store]":
    """An aggregator that fuses what its store has, and what the hub gives it.

    Raises:
        ConfigError: with what to do about it.
    """
    from devit_iot.aggregator.fusions import MAX_FUSIONS, Fusions
    from devit_iot.aggregator.heads import CameraHeads
    from devit_iot.build_aggregator import (
        aggregator_identity,
        aggregator_of,
        aggregator_transport,
        looking_transport,
    )
    from devit_iot.updates.heads import take_over_heads

    store = Store(Path(config.store))
    fusions = Fusions(awaiting=True)

    def load(folder: Path, _held: Held) -> CameraHeads:
        bundle = Bundle(folder, trust=config.trust)
        take_over_heads(store, bundle, config.head_choice.names)
        heads = CameraHeads(bundle, config.head_choice)
        if config.early_choice.any:
            _calibrate_if_possible(heads)
        fusions.add(heads)
        return heads

    for fingerprint in store.fingerprints[-MAX_FUSIONS:]:  # the broker may have features of them
        _load_if_possible(store, load, Held(0, fingerprint, None, 0))
    serving = _begin(store, load)
    held = serving.held if serving is not None else Held(0, "", None, 0)
    identity = aggregator_identity(config, held.fingerprint, held.parts)
    transport = aggregator_transport(config, environment, identity)
    looking = looking_transport(config, environment)
    service = aggregator_of(config, identity, fusions, transport, looking)

    def hear(rollout: Rollout) -> None:
        named = (rollout.current, rollout.next)
        fusions.await_only(release.fingerprint for release in named if release is not None)

    member = Member("", load, partial(_fuse, service), _nothing, hear)
    return _managed(config, service, transport, store, member, serving), store


def _calibrate_if_possible(heads: "CameraHeads") -> None:
    """A release that came without a calibration is served all the same: no label is early."""
    try:
        heads.calibrate()
    except BundleError as error:
        logger.warning("labels wait for all parts: %s", error)


def _fuse(service: "Aggregator", serving: "Serving[CameraHeads]") -> None:
    service.serve(serving.held.fingerprint, serving.held.parts)


def _managed(
    config: Config,
    service: Service,
    transport: Transport,
    store: Store,
    member: Member[T],
    serving: Serving[T] | None,
) -> Managed[T]:
    topics = Topics(config.fleet)
    own = (
        topics.node_update(member.name)
        if member.name
        else topics.aggregator_update(config.aggregator.shard)
    )

    def publish(status: UpdateStatus) -> None:
        transport.publish(own, status.encode(), qos=1, retain=True)

    is_secure = config.broker.url.startswith("mqtts:")
    fetcher = Fetcher(client_context(config.broker) if is_secure else None)
    updater = Updater(member, store, _installer(config, store, fetcher), publish, serving)
    transport.subscribe(topics.release, updater.receive, qos=1)
    hang = Hang(_HANGS * config.node.hang_s, partial(os._exit, EXIT_HUNG))
    return Managed(service, updater, hang)


def _installer(config: Config, store: Store, fetcher: Fetcher) -> Installer:
    """What installs any release of the hub, or only those that the fleet's owner allows."""
    if not config.updates.root_file:
        return Installer(store, fetcher)
    from devit_iot.updates.verifier import Verifier  # an extra

    judges: dict[Expiry, Callable[[], bool]] = {
        "auto": follows_time_server,
        "always": lambda: True,
        "never": lambda: False,
    }
    root = read_file(config.updates.root_file, "updates.root_file")
    judge = judges[config.updates.expiry]
    return Installer(store, fetcher, Verifier(store.path / "metadata", root, fetcher, judge).check)


def _begin(store: Store, load: Callable[[Path, Held], T]) -> Serving[T] | None:
    """What is served from the start: what is on trial, else what is good, if it can be loaded."""
    held = store.begin()
    while held is not None:
        try:
            return Serving(held, load(store.folder(held.fingerprint), held))
        except DevitError as error:
            logger.warning("release %d cannot be served: %s", held.number, error)
            held = store.reject(held, str(error))
    return None


def _load_if_possible(store: Store, load: Callable[[Path, Held], T], held: Held) -> None:
    try:
        load(store.folder(held.fingerprint), held)
    except DevitError as error:
        logger.warning("release %d cannot be fused: %s", held.number, error)


def _load_part(config: Config, folder: Path, held: Held) -> Served:
    return load_part(config, folder, held.part or 0)


def _bare(config: Config) -> NodeStatus:
    """What a node without a bundle says of itself."""
    return NodeStatus(
        state="online",
        node=config.node_name,
        part=0,
        parts=0,
        fingerprint="",
        version=__version__,
        machine=platform.machine(),
        board=_board(config),
        pinned=pinned_part(config),
    )


def _board(config: Config) -> BoardProfile:
    """What this board is; its peak is measured in a fraction of a second unless it is known."""
    from devit_iot import _core

    board = board_of(config)
    if board.fma_gflops:
        return board
    try:
        peak = _core.fma_peak(_core.select_isa(config.node.isa))
    except ValueError:  # the engine will say what is wrong with it
        return board
    return msgspec.structs.replace(board, fma_gflops=round(peak, 1))


def _nothing() -> None:
    """There is nothing to leave."""
