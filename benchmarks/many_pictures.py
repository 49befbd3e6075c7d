"""What a folder of many real JPEG files costs `devit teach`: time and memory of reading features.

python benchmarks/many_pictures.py [--pictures 5000] [--bundle DIR] [--json]

Files of 160x120 pixels are written to a temporary folder, and a fifth as many to another one. The
features of the few are read first, then those of all, then those of all again from the cache. What
memory the second reading needs more than the first one is what further pictures cost.
"""

import io
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
import numpy as np
from PIL import Image

from devit_iot.bundle.reading import Bundle
from devit_iot.cli.common import one_line_errors
from devit_iot.datasets.sources import open_source
from devit_iot.errors import DataError
from devit_iot.evaluation.local import LocalFleet
from devit_iot.teach.cache import FeatureCache
from devit_iot.teach.examples import Examples, read_examples

_ROOT = Path(__file__).parents[1]
_CLASSES = ("closed", "open")
_FEW = 5


class Cost(msgspec.Struct, frozen=True):
    """What pictures cost.

    Attributes:
        pictures: files that were read.
        file_bytes: mean size of a file.
        computed_ms: CPU time for a picture whose features are computed, milliseconds.
        cached_ms: CPU time for a picture whose features are in the cache.
        mib: memory that a thousand further pictures take at most, MiB.
        feature_mib: memory of the features of a thousand pictures.
    """

    pictures: int
    file_bytes: float
    computed_ms: float
    cached_ms: float
    mib: float
    feature_mib: float


def _write(folder: Path, count: int) -> float:
    """Write so many pictures, each another one; their mean size in bytes."""
    rng = np.random.default_rng(count)
    total = 0
    for number in range(count):
        kind = _CLASSES[number % 2]
        blocks = rng.integers(0, 256, (12, 16, 3), np.uint8)
        blocks[:, :, number % 2] //= 4
        buffer = io.BytesIO()
        Image.fromarray(blocks).resize((160, 120)).save(buffer, "JPEG")
        place = folder / kind / f"door-{1_700_000_000 + 90 * number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(buffer.getvalue())
        total += buffer.tell()
    return total / count


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cpu_s(work: Callable[[], Examples]) -> tuple[float, Examples]:
    begin = time.process_time()
    found = work()
    return time.process_time() - begin, found


def measure(bundle: Path, pictures: int) -> Cost:
    """Read the features of so many pictures, with and without the cache.

    Raises:
        DataError: some picture was not computed.
    """
    opened = Bundle(bundle)
    fleet = LocalFleet(opened, threads=1)
    dims = opened.manifest.fusion_spec.feature_dims
    few = pictures // _FEW
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder / "few", few)
        file_bytes = _write(folder / "all", pictures)

        def read(which: str) -> Examples:
            source = open_source(str(folder / which), folder, split="train", strict=False)
            with FeatureCache(folder / "cache", "0" * 16, dims) as cache:
                return read_examples(fleet, source, cache, lambda places: places)

        read("few")
        before = _peak_mib()
        computed_s, found = _cpu_s(lambda: read("all"))
        after = _peak_mib()
        cached_s, again = _cpu_s(lambda: read("all"))
    if (found.computed, again.computed, len(found.names)) != (pictures, 0, pictures):
        raise DataError(f"{found.computed} of {pictures} pictures were computed")
    return Cost(
        pictures,
        file_bytes,
        1e3 * computed_s / pictures,
        1e3 * cached_s / pictures,
        1e3 * (after - before) / (pictures - few),
        1e3 * 4 * sum(dims) / 2**20,
    )


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: the demo's.")
@click.option("--pictures", type=click.IntRange(min=_FEW * 2), default=5000, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@one_line_errors
def main(bundle: Path | None, *, pictures: int, as_json: bool) -> None:
    """Measure what many pictures cost before a head is fitted."""
    cost = measure(bundle or _ROOT / "devit_iot/demo/bundle", pictures)
    if as_json:
        click.echo(msgspec.json.encode(cost))
        return
    click.echo(
        f"{cost.pictures} JPEG files of {cost.file_bytes / 1e3:.1f} kB: CPU "
        f"{cost.computed_ms:.2f} ms each, {cost.cached_ms:.3f} ms from the cache; a further "
        f"thousand takes {cost.mib:.2f} MiB, of which {cost.feature_mib:.2f} MiB are features"
    )


if __name__ == "__main__":
    main()
