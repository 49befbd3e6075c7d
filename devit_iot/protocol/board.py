"""What a board can do. Normative: docs/fleet.md.

One struct is the content of a profile's file and a field of a node's status.
"""

import msgspec

from devit_iot.errors import ConfigError
from devit_iot.protocol.text import is_plain

LARGEST = 1e9
"""No board has a figure above it."""


class Speed(msgspec.Struct, frozen=True):
    """The time of one inference, as a sum over what it computes (docs/fleet.md, eq. 1).

    Attributes:
        linear_ms: time of 10^9 multiply-accumulates in convolutions and linear layers.
        attention_ms: time of 10^9 multiply-accumulates in attention's products.
        values_ms: time of 10^6 numbers that layer norms, softmax, GELU and sums pass over.
        fixed_ms: constant time of every inference.
    """

    linear_ms: float
    attention_ms: float
    values_ms: float
    fixed_ms: float


class Speeds(msgspec.Struct, frozen=True):
    """The speed by what the engine computes in; null where it was not measured.

    Attributes:
        float32: speed in float32.
        float16: speed in float16.
        int8: speed in int8.
    """

    float32: Speed | None = None
    float16: Speed | None = None
    int8: Speed | None = None


class BoardProfile(msgspec.Struct, frozen=True):
    """One board: what it has, and how fast our engine is on it.

    Attributes:
        name: name of the board and of its node.
        machine: the CPU's architecture.
        cores: number of cores that a process may use.
        threads: number of threads of one inference when the speeds were measured.
        isas: instruction sets that the engine can use, the best one first.
        memory_mib: MiB that a node may count on.
        overhead_mib: MiB of them that a node needs beside its part's weights.
        fma_gflops: peak of float32 multiply-adds on one core, 10^9 operations a second; 0: not
            measured.
        decode_ms: time from a JPEG of 640 x 480 pixels to the network's input.
        message_ms: time of receiving a JPEG of 640 x 480 pixels and sending a feature, without the
            link's time.
        link_mbps: rate of the network, 10^6 bits a second.
        link_ms: time of a short message, one way.
        watts: power that the board takes while it computes; 0: unknown.
        speed: speed of the engine.
        note: where the figures come from, for people.
    """

    name: str
    machine: str = ""
    cores: int = 1
    threads: int = 1
    isas: tuple[str, ...] = ()
    memory_mib: int = 0
    overhead_mib: int = 0
    fma_gflops: float = 0.0
    decode_ms: float = 0.0
    message_ms: float = 0.0
    link_mbps: float = 100.0
    link_ms: float = 1.0
    watts: float = 0.0
    speed: Speeds = Speeds()
    note: str = ""

    @property
    def measured(self) -> bool:
        """Whether it has a speed, without which nothing can be predicted."""
        return self.speed != Speeds()

    def check(self, source: str) -> None:
        """Raise ConfigError unless a board can be so; ``source`` names where it stands."""
        for name, value in msgspec.structs.asdict(self).items():
            if isinstance(value, int | float) and not 0 <= value <= LARGEST:  # NaN too
                raise ConfigError(f"{source}: {name} is {value}, not 0 to {LARGEST:g}")
        for name, least in (("cores", 1), ("threads", 1), ("link_mbps", 1e-3)):
            if getattr(self, name) < least:
                raise ConfigError(f"{source}: {name} is {getattr(self, name)}, less than {least:g}")
        if self.memory_mib <= self.overhead_mib:
            raise ConfigError(
                f"{source}: memory_mib is {self.memory_mib} and a node needs {self.overhead_mib} "
                "of it beside its part (overhead_mib): nothing is left for a part"
            )
        for text in (self.name, self.machine, self.note, *self.isas):
            if not is_plain(text):
                raise ConfigError(f"{source}: a text is too long, or cannot be printed")
        for dtype, speed in msgspec.structs.asdict(self.speed).items():
            if speed is not None:
                _check_speed(speed, f"{source}: speed.{dtype}")


def _check_speed(speed: Speed, source: str) -> None:
    rates = msgspec.structs.asdict(speed)
    for name, value in rates.items():
        if not 0 <= value <= LARGEST:
            raise ConfigError(f"{source}.{name} is {value}, not 0 to {LARGEST:g}")
    if not any(rates.values()):
        raise ConfigError(f"{source} says that an inference takes no time")
