"""A node whose engine sleeps instead of computing: everything else about it is a real node.

python benchmarks/scale_node.py --config fleet.toml --part 0 --sleep-ms 20
"""

import os
import time
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from devit_iot.build import node_of, node_transport
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.storage import Dtype
from devit_iot.cli.common import serve, set_up_logging
from devit_iot.config.config import load_config
from devit_iot.node.computing import Served
from devit_iot.protocol.status import NodeStatus


class SleepingEngine:
    """Takes a stated time for an image and none of the processor's."""

    name = "sleeping"
    dtype: Dtype = "float32"

    def __init__(self, feature_dim: int, seconds: float) -> None:
        self.detail = f"{1e3 * seconds:g} ms"
        self._feature = np.linspace(-1, 1, feature_dim, dtype=np.float32)
        self._seconds = seconds

    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same feature for every image, float32, (feature_dim,)."""
        del image
        time.sleep(self._seconds)
        return self._feature


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True)
@click.option("--name", required=True)
@click.option("--part", type=int, required=True)
@click.option("--sleep-ms", type=float, required=True)
def main(path: Path, name: str, part: int, sleep_ms: float) -> None:
    """Serve one part."""
    set_up_logging("human", "warning")
    config = load_config([path], {"node.name": name, "node.part": part})
    bundle = Bundle(Path(config.bundle))
    read = bundle.read_part(part)
    identity = NodeStatus(
        state="online",
        node=name,
        part=part,
        parts=len(bundle.manifest.parts),
        fingerprint=bundle.manifest.fingerprint,
        parts_fingerprint=bundle.parts_fingerprint.hex(),
    )
    engine = SleepingEngine(read.spec.feature_dim, sleep_ms / 1e3)
    served = Served(identity, read.spec, engine)
    serve(node_of(config, served, node_transport(config, os.environ, identity)))


if __name__ == "__main__":
    main()
