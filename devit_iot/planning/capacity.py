"""What a number of cameras asks of a network, a broker, nodes and aggregators: arithmetic alone."""

import math
from collections.abc import Iterator

import msgspec

from devit_iot.errors import ConfigError

LINK_SHARE = 0.7
"""Share of a link that is planned for; the rest is for peaks and for what comes again."""
BUSY_SHARE = 0.7
"""Share of its time for which a node's engine or an aggregator's core is planned to be busy."""
_OVERHEAD = 1.06  # frames, TCP and MQTT, for messages of tens of kilobytes
_FEATURE_BYTES = 900
_LABEL_BYTES = 500


class Load(msgspec.Struct, frozen=True):
    """What is asked for.

    Attributes:
        cameras: number of cameras.
        rate: images a second of each.
        image_bytes: size of an image file.
        parts: number of parts.
        replicas: nodes that share each part.
        link_mbit: speed of the broker's network, 10^6 bit/s in each direction.
        engine_ms: time of the slowest part for one image, decoding included.
        aggregator_ms: processor time of an aggregator for one image.
    """

    cameras: int
    rate: float
    image_bytes: int
    parts: int
    replicas: int
    link_mbit: float
    engine_ms: float
    aggregator_ms: float

    def __post_init__(self) -> None:
        """Raise ConfigError for a number that is not positive."""
        for name in self.__struct_fields__:
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive")


class Capacity(msgspec.Struct, frozen=True):
    """What that needs. All of it is calculated.

    Attributes:
        images_s: images a second of all cameras.
        in_mbit: what the broker receives, 10^6 bit/s.
        out_mbit: what the broker sends, 10^6 bit/s; every replica of a part gets every image.
        cells: brokers with nodes and aggregator of their own, so that no link is too small.
        replicas: nodes that each part needs in each cell.
        shards: aggregators that each cell needs.
        cameras_per_cell: cameras that one cell carries with the replicas that were asked for.
    """

    images_s: float
    in_mbit: float
    out_mbit: float
    cells: int
    replicas: int
    shards: int
    cameras_per_cell: int


def capacity(load: Load) -> Capacity:
    """The traffic of a fleet, and how many cells, replicas and shards carry it."""
    images = load.cameras * load.rate
    features = load.parts * _FEATURE_BYTES
    mbit = 8e-6 * _OVERHEAD
    in_one = (load.image_bytes + features + _LABEL_BYTES) * mbit
    out_one = (load.image_bytes * load.parts * load.replicas + features + _LABEL_BYTES) * mbit
    usable = LINK_SHARE * load.link_mbit / max(in_one, out_one)  # images a second of one cell
    cells = math.ceil(images / usable)
    in_a_cell = images / cells
    return Capacity(
        images_s=images,
        in_mbit=images * in_one,
        out_mbit=images * out_one,
        cells=cells,
        replicas=_needed(in_a_cell, load.engine_ms),
        shards=_needed(in_a_cell, load.aggregator_ms),
        cameras_per_cell=int(usable / load.rate),
    )


def capacity_text(load: Load, needs: Capacity) -> Iterator[str]:
    """The lines for people."""
    yield f"{needs.images_s:g} images/s of {load.image_bytes / 1e3:g} kB to {load.parts} parts"
    yield (
        f"calculated: brokers receive {needs.in_mbit:.0f} Mbit/s and send {needs.out_mbit:.0f}; "
        f"{LINK_SHARE:.0%} of a link of {load.link_mbit:g} Mbit/s carries "
        f"{needs.cameras_per_cell} such cameras"
    )
    yield f"calculated: {needs.cells} {'cell' if needs.cells == 1 else 'cells'}; in each:"
    yield (
        f"  {needs.replicas} nodes for each part, of {load.engine_ms:g} ms an image, "
        f"{BUSY_SHARE:.0%} busy"
    )
    yield f"  {needs.shards} aggregators, of {load.aggregator_ms:g} ms an image"
    if needs.replicas > load.replicas:
        yield (
            f"warning: counted for {load.replicas} nodes a part on the network; ask again with "
            f"--replicas {needs.replicas}, since each of them gets every image"
        )


def _needed(rate: float, milliseconds: float) -> int:
    return max(1, math.ceil(rate * milliseconds / 1e3 / BUSY_SHARE))
