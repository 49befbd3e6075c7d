"""``devit bundle calibrate``: how sure a bundle is of its answer before all parts have answered."""

from pathlib import Path

import click
import numpy as np

from devit_iot.bundle.calibration import write_calibration
from devit_iot.bundle.head import read_head
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.storage import Dtype
from devit_iot.cli.common import one_line_errors
from devit_iot.cli.data_options import count_option, data_option, head_option, split_option
from devit_iot.cli.number import Number
from devit_iot.cli.options import dtype_option, engine_option, threads_option
from devit_iot.datasets.source import hold_out
from devit_iot.datasets.sources import open_source
from devit_iot.evaluation.asking import evidence
from devit_iot.evaluation.calibrate import calibrate as fit
from devit_iot.evaluation.labels import bundle_labels, evenly, shown
from devit_iot.evaluation.local import LocalFleet
from devit_iot.evaluation.measure import run_fleet

_SEED = 42
"""Of the shipped recipes."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@data_option
@split_option("train")
@click.option(
    "--held-out",
    type=Number(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Use only the share that a training with this seed held out, as `held_out` of its recipe.",
)
@click.option("--seed", type=int, default=_SEED, show_default=True, help="Of that training.")
@head_option
@count_option
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Private key of `keygen` that signs it.",
)
@engine_option
@dtype_option
@threads_option
@one_line_errors
def calibrate(  # noqa: PLR0913 - one for each option
    folder: Path,
    *,
    data: str,
    split: str,
    held_out: float | None,
    seed: int,
    head: str,
    count: int | None,
    key: Path | None,
    engine: str,
    dtype: Dtype | None,
    threads: int,
) -> None:
    """Fit how sure the bundle FOLDER is before all parts have answered; `confidence` needs it.

    Use images that the fleet was not trained on, in folders as for `devit evaluate`; of training
    images it is too sure. What is fitted is written beside the bundle and changes nothing else.

    \b
        devit bundle calibrate bundles/pets --data photos-never-seen/
        devit bundle calibrate bundles/cifar100 --data cifar100/ --held-out 0.1
    """
    opened = Bundle(folder)
    found = read_head(opened, head)
    source = open_source(data, Path(), split=split, strict=False)
    if held_out is not None:
        source = source.subset(hold_out(source.labels, held_out, seed)[1])
    source = evenly(source, count)
    bundle_labels(found.classes, source)  # it refuses images of other classes than the head's
    fleet = LocalFleet(opened, engine=engine, threads=threads, dtype=dtype, head=head)
    done = run_fleet(fleet, source, shown)
    for line in done.unreadable:
        click.echo(line, err=True)
    parts = range(len(opened.manifest.parts))
    features = [np.stack([row[part].values for row in done.rows]) for part in parts]
    made = fit(evidence(features, found), found, opened.parts_fingerprint.hex())
    path = write_calibration(opened, made, key.read_bytes() if key else b"")
    click.echo(
        f"{path}: fitted on {made.images} images, {len(made.stages)} stages; parts in the order "
        f"{', '.join(map(str, made.order))} answer with the fewest"
    )
