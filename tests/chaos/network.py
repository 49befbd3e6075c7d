"""Hosts in network namespaces of their own, on links that lose, delay or swallow packets.

A host's only way out is a TUN device whose other end is held here: each IP packet that it sends
comes to this process, which hands it to the host that it is for, late, or not at all. The TCP of
the kernel at either end knows nothing of that, so it waits, sends again and backs off as on a bad
radio link. The kernel could do the same by itself (``tc netem``), but that is a module which many
kernels lack; this needs root, ``ip`` and /dev/net/tun only, and its losses come from a seed.
"""

import fcntl
import heapq
import itertools
import os
import random
import selectors
import shutil
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TUN = Path("/dev/net/tun")
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x0001 | 0x1000
_MTU = 1500
_PREFIX = "198.18.0."  # RFC 2544 keeps it for benchmarks: routed nowhere
_HEADER = 20
_MAX_PENDING = 20_000


class NoNamespacesError(Exception):
    """This machine does not let us make hosts; the text says why."""


@dataclass
class Link:
    """What a host's packets meet on their way out, and those for it on their way in.

    Attributes:
        loss: share of packets that vanish, each by itself.
        delay_s: how much later the others arrive.
        cut: none arrives; neither end is told.
    """

    loss: float = 0.0
    delay_s: float = 0.0
    cut: bool = False


class Network:
    """A switch between the hosts that :meth:`add` makes; they end with the ``with`` block.

    Args:
        seed: decides which packets are lost.
    """

    def __init__(self, seed: int) -> None:
        self.links: dict[str, Link] = {}
        self.packets = 0
        self.lost = 0
        self._rng = random.Random(seed)
        self._devices: dict[str, int] = {}
        self._namespaces: list[str] = []
        self._by_address: dict[bytes, str] = {}
        self._pending: list[tuple[float, int, str, bytes]] = []
        self._order = itertools.count()
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._thread = threading.Thread(target=self._forward, name="switch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()
        for device in self._devices.values():
            os.close(device)
        for namespace in self._namespaces:
            _ip("netns", "del", namespace)
        self._selector.close()

    def add(self, name: str) -> str:
        """Make a host with a perfect link; return its address.

        Raises:
            NoNamespacesError: it cannot be made here.
        """
        namespace = _namespace(name)
        address, interface = self._plug_in(name)
        _ip("netns", "add", namespace)
        self._namespaces.append(namespace)
        _ip("link", "set", interface, "netns", namespace)
        _set_up(address, interface, "-n", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        return address

    def join(self, name: str) -> str:
        """Let this process take part, where it is, as a host; return its address.

        Raises:
            NoNamespacesError: it cannot here.
        """
        address, interface = self._plug_in(name)
        _set_up(address, interface)
        return address

    def command(self, name: str) -> list[str]:
        """What runs a command on the host: put before it."""
        return ["ip", "netns", "exec", _namespace(name)]

    def _plug_in(self, name: str) -> tuple[str, str]:
        """A new link of the switch: the address of its host, and the interface that it gets."""
        number = len(self._devices) + 1
        address = f"{_PREFIX}{number}"
        device, interface = _open_tun(number)
        self._devices[name] = device
        self.links[name] = Link()
        self._by_address[socket.inet_aton(address)] = name
        self._selector.register(device, selectors.EVENT_READ, name)
        return address, interface

    def _forward(self) -> None:
        while not self._stopping:
            wait = 0.05
            if self._pending:
                wait = min(wait, max(0.0, self._pending[0][0] - time.monotonic()))
            for key, _ in self._selector.select(wait):
                self._read(key.fd, key.data)
            now = time.monotonic()
            while self._pending and self._pending[0][0] <= now:
                _, _, target, packet = heapq.heappop(self._pending)
                if not self.links[target].cut:
                    os.write(self._devices[target], packet)

    def _read(self, device: int, source: str) -> None:
        while True:
            try:
                packet = os.read(device, _MTU)
            except BlockingIOError:
                return
            target = self._by_address.get(packet[16:_HEADER])  # IPv4's destination
            if packet[0] >> 4 == 4 and target is not None:
                self._send(self.links[source], self.links[target], target, packet)

    def _send(self, up: Link, down: Link, target: str, packet: bytes) -> None:
        self.packets += 1
        passes = (1 - up.loss) * (1 - down.loss) > self._rng.random()
        if up.cut or down.cut or not passes or len(self._pending) > _MAX_PENDING:
            self.lost += 1
            return
        due = time.monotonic() + up.delay_s + down.delay_s
        heapq.heappush(self._pending, (due, next(self._order), target, packet))


def _namespace(name: str) -> str:
    return f"devit-{os.getpid()}-{name}"


def _open_tun(number: int) -> tuple[int, str]:
    """A new TUN device, without a header before its packets: its descriptor and name."""
    if os.geteuid() != 0:
        raise NoNamespacesError("network namespaces need root")
    if shutil.which("ip") is None:
        raise NoNamespacesError("'ip' is not on PATH: install iproute2")
    name = f"devit{os.getpid() % 10**7}{chr(96 + number)}"
    try:
        device = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        raise NoNamespacesError(f"{_TUN} cannot be opened: {error.strerror}") from error
    try:
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    except OSError as error:
        os.close(device)
        raise NoNamespacesError(f"no TUN device can be made: {error.strerror}") from error
    return device, name


def _set_up(address: str, interface: str, *where: str) -> None:
    _ip(*where, "address", "add", f"{address}/24", "dev", interface)
    _ip(*where, "link", "set", interface, "up")


def _ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise NoNamespacesError(f"ip {' '.join(arguments)}: {error.stderr.strip()}") from error
