"""``devit classify`` and ``devit evaluate``: a whole fleet in one process, without a broker."""

import sys
from collections import Counter
from pathlib import Path

import click
import msgspec

from devit_iot.bundle import Bundle
from devit_iot.cli.common import one_line_errors
from devit_iot.decompose.data import Sample, read_image_folder
from devit_iot.engine.base import ENGINES
from devit_iot.errors import DataError, ImageError
from devit_iot.services.local import LocalFleet

_ENGINE = click.option(
    "--engine", type=click.Choice(sorted(ENGINES)), default="native", show_default=True
)
_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("bundle", type=_FOLDER)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@_ENGINE
@click.option("--json", "as_json", is_flag=True, help="One JSON object per image.")
@one_line_errors
def classify(bundle: Path, images: tuple[Path, ...], engine: str, *, as_json: bool) -> None:
    """Classify IMAGES by the whole fleet of BUNDLE; exit code 1 if one could not be read."""
    fleet = LocalFleet(Bundle(bundle), engine=engine)
    bad = 0
    for path in images:
        try:
            top5 = fleet.classify(path.read_bytes())
        except (ImageError, OSError) as error:
            click.echo(f"{path}: {error}", err=True)
            bad += 1
            continue
        best = top5[0]
        if as_json:
            line = {"file": str(path), **msgspec.to_builtins(best), "top5": top5}
            click.echo(msgspec.json.encode(line))
        else:
            click.echo(f"{path}: {best.label} ({best.confidence:.1%})")
    if bad:
        sys.exit(1)


@click.command()
@click.argument("bundle", type=_FOLDER)
@click.option("--data", required=True, type=_FOLDER, help="ImageFolder tree, or a zip of one.")
@_ENGINE
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@one_line_errors
def evaluate(bundle: Path, data: Path, engine: str, *, as_json: bool) -> None:
    """Measure BUNDLE's accuracy on labelled images: folders named like its classes."""
    opened = Bundle(bundle)
    samples = list(read_image_folder(data))
    index = _class_indices(opened.manifest.classes, samples)
    fleet = LocalFleet(opened, engine=engine)
    hits: Counter[str] = Counter()
    with click.progressbar(samples, label="evaluating", file=sys.stderr) as progress:
        for sample in progress:
            try:
                top5 = [ranked.class_index for ranked in fleet.classify(sample.payload)]
            except ImageError as error:
                click.echo(f"{sample.name}: {error}", err=True)
                hits["unreadable"] += 1
                continue
            hits["top1"] += top5[0] == index[sample.class_name]
            hits["top5"] += index[sample.class_name] in top5
    count = len(samples) - hits["unreadable"]
    if not count:
        raise DataError(f"no image of {data} could be read")
    result = {
        "images": count,
        "unreadable": hits["unreadable"],
        "top1": hits["top1"] / count,
        "top5": hits["top5"] / count,
    }
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        click.echo(
            f"{count} images: top-1 {result['top1']:.2%}, top-5 {result['top5']:.2%}"
            + (f", {hits['unreadable']} unreadable" if hits["unreadable"] else "")
        )


def _class_indices(classes: tuple[str, ...], samples: list[Sample]) -> dict[str, int]:
    """Folder name -> class index. Folders are named like the classes, or by their index."""
    folders = {sample.class_name for sample in samples}
    by_name = {name: index for index, name in enumerate(classes)}
    if folders <= by_name.keys():
        return by_name
    by_index = {str(index): index for index in range(len(classes))}
    if folders <= by_index.keys():
        return by_index
    unknown = min(folders - by_name.keys())
    raise DataError(
        f"folder '{unknown}' is no class of the bundle; name folders like its classes "
        f"({', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}) or by class index"  # noqa: PLR2004
    )
