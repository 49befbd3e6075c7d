"""``devit bundle quantize``: store a bundle in fewer bits, and say what that costs."""

from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.storage import Storage
from devit_iot.cli.common import one_line_errors
from devit_iot.cli.data_options import count_option, split_option
from devit_iot.cli.old_options import Command
from devit_iot.datasets.source import ImageSource
from devit_iot.datasets.sources import open_source
from devit_iot.errors import DataError
from devit_iot.evaluation.labels import bundle_labels, evenly, shown
from devit_iot.evaluation.local import LocalFleet
from devit_iot.evaluation.measure import run_fleet
from devit_iot.export.quantize import quantize_bundle


class Answers(NamedTuple):
    """What a fleet says of some images.

    Attributes:
        features: per part, float32[images, feature_dim].
        logits: float32[images, classes].
        read: int64[images], their indices in the source.
        unreadable: images that were not read.
    """

    features: list[NDArray[np.float32]]
    logits: NDArray[np.float32]
    read: NDArray[np.int64]
    unreadable: int


@click.command(cls=Command, path="devit bundle quantize")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--storage",
    type=click.Choice(["int8", "float16", "float32"]),
    default="int8",
    show_default=True,
    help="Of the matrices in the new bundle.",
)
@click.option(
    "--output", required=True, type=click.Path(path_type=Path), help="Bundle folder to create."
)
@click.option("--data", metavar="PATH", help="Images to compare both on, as in devit evaluate.")
@split_option("test")
@count_option
@one_line_errors
def quantize(
    source: Path, storage: Storage, output: Path, data: str | None, split: str, count: int | None
) -> None:
    """Store the bundle SOURCE again in fewer bits, and compare both on images.

    Nodes compute in what their part is stored in, unless told otherwise (--dtype).

    \b
        devit bundle quantize bundles/pets --output bundles/pets-int8 --data photos/ --count 500
    """
    old = Bundle(source)
    images = None if data is None else evenly(_open(data, split), count)
    new = quantize_bundle(old, storage, output)
    before, after = (_bytes(made) / 1e6 for made in (old, new))
    click.echo(f"{output}: parts in {storage}, {before:.2f} MB -> {after:.2f} MB")
    first, second = LocalFleet(old), LocalFleet(new)  # opening proves both on their golden images
    if images is not None:
        labels = _labels(old, images)
        click.echo(_report(_answers(first, images), _answers(second, images), labels))
    click.echo(f"computed by {first.detail} -> {second.detail}")


def _open(data: str, split: str) -> ImageSource:
    return open_source(data, Path(), split=split, strict=False)


def _bytes(made: Bundle) -> int:
    return sum(part.weights.size for part in made.manifest.parts)


def _labels(old: Bundle, images: ImageSource) -> NDArray[np.int64] | None:
    """Labels in the bundle's order; None for images of other things, which can be compared too."""
    try:
        labels, notes = bundle_labels(old.manifest.classes, images)
    except DataError as error:
        click.echo(f"no top-1: {error}", err=True)
        return None
    for note in (*images.notes, *notes):
        click.echo(note, err=True)
    return labels


def _answers(fleet: LocalFleet, images: ImageSource) -> Answers:
    done = run_fleet(fleet, images, shown)
    features = [np.stack([part.values for part in parts]) for parts in zip(*done.rows, strict=True)]
    logits = [
        fleet.fusion.logits({part: found.values for part, found in enumerate(row)})
        for row in done.rows
    ]
    return Answers(features, np.stack(logits), done.read, len(done.unreadable))


def _report(old: Answers, new: Answers, labels: NDArray[np.int64] | None) -> str:
    best = [answers.logits.argmax(axis=1) for answers in (old, new)]
    unreadable = f", {old.unreadable} unreadable" if old.unreadable else ""
    same = (best[0] == best[1]).mean()
    lines = [f"{len(old.read)} images{unreadable}: the same answer for {same:.2%}"]
    if labels is not None:
        before, after = ((answers == labels[old.read]).mean() for answers in best)
        lines.append(f"top-1 {before:.2%} -> {after:.2%}")
    errors = [_error(*both) for both in zip(old.features, new.features, strict=True)]
    lines.append(
        f"relative error: logits {_error(old.logits, new.logits):.2g}; features by part "
        + ", ".join(f"{error:.2g}" for error in errors)
    )
    return "\n".join(lines)


def _error(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """L2, of all images together."""
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
