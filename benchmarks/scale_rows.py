"""The fleets that ``scale.py`` measures, and what it says of each."""

from collections import defaultdict
from collections.abc import Sequence
from math import isnan, nan

import msgspec
from transport import PHOTO_BYTES

FEATURE_BYTES, LABEL_BYTES = 900, 500


class Row(msgspec.Struct, frozen=True):
    """What one fleet is made of.

    Attributes:
        broker: ``mosquitto``, ``nats-1`` or ``nats-3``.
        cameras: number of cameras.
        parts: number of parts.
        replicas: nodes that share part 0.
        shards: number of aggregators.
        engine_ms: what an engine takes for one image.
        delivery: ``latest`` (QoS 0) or ``every`` (QoS 1).
        images: how many images of ``every`` wait at once; 0: as many as take some seconds.
        share: share of one core that each node may use, whose engine then computes instead of
            sleeping; of each aggregator, if features come from no node. 0: no quota.
        from_nodes: whether nodes make the features; one connection stands in for them otherwise.
        rate: images a second that are offered all the time; 0: more and more are.
    """

    broker: str = "mosquitto"
    cameras: int = 16
    parts: int = 4
    replicas: int = 1
    shards: int = 1
    engine_ms: float = 20.0
    delivery: str = "latest"
    images: int = 0
    share: float = 0.0
    from_nodes: bool = True
    rate: float = 0.0

    @property
    def kilobytes(self) -> float:
        """Payload that crosses the brokers for one image, in and out."""
        copies = self.parts + self.replicas - 1  # every replica gets every image
        images = PHOTO_BYTES * (1 + copies) if self.from_nodes else 0
        return (images + 2 * self.parts * FEATURE_BYTES + 2 * LABEL_BYTES) / 1e3


class Usage(msgspec.Struct, frozen=True):
    """What one process took.

    Attributes:
        cpu_ms: processor time for one image that was offered, user and system.
        begin_mb: its resident memory before the images.
        end_mb: its resident memory after them.
    """

    cpu_ms: float
    begin_mb: float
    end_mb: float


class Result(msgspec.Struct, frozen=True):
    """What it kept up with.

    Attributes:
        row: the fleet.
        rate: images a second; of `latest` the highest at which 99 of 100 images had their label
            within the limit, 0 if none; of `every` that at which the first eight tenths of a
            backlog were worked off, while all nodes have work.
        offered: images that were published at that rate.
        answered: how many of them had a label.
        p50_ms: median time from publishing to label at that rate.
        p95_ms: time within which 95 of 100 have their label.
        p99_ms: time within which 99 of 100 have their label.
        usage: what each process took at that rate, by its name.
        kilobytes: payload that crosses the brokers for one image, calculated.
        load: mean number of processes that want a processor, of the last minute.
    """

    row: Row
    rate: float = 0.0
    offered: int = 0
    answered: int = 0
    p50_ms: float = nan
    p95_ms: float = nan
    p99_ms: float = nan
    usage: dict[str, Usage] = {}
    kilobytes: float = 0.0
    load: float = 0.0

    def cpu_ms(self, role: str) -> float:
        """Processor time for one image of all processes of a role; nan if there are none."""
        used = [usage.cpu_ms for name, usage in self.usage.items() if name.split(" ")[0] == role]
        return sum(used) if used else nan


SHORT = (
    Row(cameras=2, parts=1, engine_ms=5.0),
    Row(cameras=2, parts=1, engine_ms=50.0, delivery="every", images=40),
    Row(cameras=2, parts=2, delivery="every", images=40, from_nodes=False),
)
GROWTH = (
    *(Row(broker) for broker in ("mosquitto", "nats-1", "nats-3")),
    *(Row(broker, delivery="every") for broker in ("mosquitto", "nats-1", "nats-3")),
    *(Row(cameras=count) for count in (1, 64, 256)),
    *(Row(parts=count) for count in (1, 2, 8)),
    *(Row(parts=1, replicas=count, engine_ms=200.0, delivery="every") for count in (1, 2, 4)),
    *(Row(shards=count) for count in (2, 4)),
)
_NODE = Row(parts=1, engine_ms=20.0, delivery="every", images=150, share=0.25)
_AGGREGATOR = Row(delivery="every", images=1000, share=0.1, from_nodes=False)
GAINS = (
    *(msgspec.structs.replace(_NODE, replicas=count) for count in (1, 2)),
    *(msgspec.structs.replace(_AGGREGATOR, shards=count) for count in (1, 2)),
)
STEADY = (
    Row(cameras=1000, engine_ms=5.0, rate=1000 / 60),
    Row(cameras=1000, from_nodes=False, rate=1000 / 60),
)

_HEAD = (
    "| broker, delivery | cameras | parts | replicas | shards | engine ms | share | images/s "
    "| offered, answered | p50 / p95 / p99 ms | broker, node, aggregator: CPU ms an image "
    "| largest of them: MB | kB an image | load |"
)
_ROLES = ("broker", "node", "aggregator")


def table(results: Sequence[Result]) -> str:
    """The results as Markdown."""
    lines = [_HEAD, f"|{' --- |' * 14}", *map(_line, results)]
    return "\n".join(lines)


def _line(result: Result) -> str:
    row = result.row
    used = ", ".join(
        "-" if isnan(result.cpu_ms(role)) else f"{result.cpu_ms(role):.1f}" for role in _ROLES
    )
    cells = (
        f"{row.broker}, {row.delivery}",
        f"{row.cameras}",
        f"{row.parts}",
        f"{row.replicas}" if row.from_nodes else "features only",
        f"{row.shards}",
        f"{row.engine_ms:g}" if row.from_nodes else "-",
        f"{row.share:g}" if row.share else "-",
        f"{result.rate:.1f}",
        f"{result.offered}, {result.answered}",
        f"{result.p50_ms:.0f} / {result.p95_ms:.0f} / {result.p99_ms:.0f}",
        used,
        _memory(result),
        f"{result.kilobytes:.0f}",
        f"{result.load:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _memory(result: Result) -> str:
    """The resident memory of each role's largest process, before and after the images."""
    largest: dict[str, Usage] = {}
    for name, usage in result.usage.items():
        role = name.split(" ")[0]
        if role not in largest or usage.end_mb > largest[role].end_mb:
            largest[role] = usage
    return ", ".join(
        f"{largest[role].begin_mb:.0f} to {largest[role].end_mb:.0f}" if role in largest else "-"
        for role in _ROLES
    )


def gains(results: Sequence[Result]) -> list[str]:
    """How many times the rate of one replica or one shard each further one gave, in words."""
    told = []
    for name in ("replicas", "shards"):
        alike: dict[Row, list[Result]] = defaultdict(list)
        for result in results:
            if result.row.share:
                alike[msgspec.structs.replace(result.row, **{name: 1})].append(result)
        for same in alike.values():
            first, *more = sorted(same, key=lambda result: int(getattr(result.row, name)))
            told += [
                f"{name} {getattr(first.row, name)} to {getattr(result.row, name)}: "
                f"{result.rate / first.rate:.2f} times the rate"
                for result in more
            ]
    return told
