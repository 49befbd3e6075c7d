"""A node whose engine takes a stated time: everything else about it is a real node.

python benchmarks/scale_node.py --config fleet.toml --name part-0 --part 0 --engine-ms 20
"""

import hashlib
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

_BLOCK = bytes(2**16)


class TimedEngine:
    """Takes a stated time for an image: of a clock, or of the processor.

    Args:
        feature_dim: length of its features.
        seconds: time for one image.
        computes: whether it is the processor's time.
    """

    name = "timed"
    dtype: Dtype = "float32"

    def __init__(self, feature_dim: int, seconds: float, *, computes: bool) -> None:
        self.detail = f"{'computes' if computes else 'sleeps'} {1e3 * seconds:g} ms"
        self._feature = np.linspace(-1, 1, feature_dim, dtype=np.float32)
        self._seconds = seconds
        self._computes = computes

    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same feature for every image, float32, (feature_dim,)."""
        del image
        if not self._computes:
            time.sleep(self._seconds)
        until = time.thread_time() + self._seconds
        while self._computes and time.thread_time() < until:
            hashlib.sha256(_BLOCK)  # without the interpreter's lock, as kernels compute
        return self._feature


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True)
@click.option("--name", required=True)
@click.option("--part", type=int, required=True)
@click.option("--engine-ms", type=float, required=True)
@click.option("--computes", is_flag=True, help="Take the processor's time, not the clock's.")
def main(*, path: Path, name: str, part: int, engine_ms: float, computes: bool) -> None:
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
    engine = TimedEngine(read.spec.feature_dim, engine_ms / 1e3, computes=computes)
    served = Served(identity, read.spec, engine)
    serve(node_of(config, served, node_transport(config, os.environ, identity)))


if __name__ == "__main__":
    main()
