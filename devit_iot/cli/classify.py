"""``devit classify``: a whole fleet in one process, without a broker."""

import sys
from pathlib import Path

import click
import msgspec

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.storage import Dtype
from devit_iot.cli.common import one_line_errors
from devit_iot.cli.data_options import head_option
from devit_iot.cli.options import dtype_option, engine_option
from devit_iot.errors import ImageError
from devit_iot.evaluation.local import LocalFleet


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@head_option
@engine_option
@dtype_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per image.")
@one_line_errors
def classify(
    bundle: Path,
    images: tuple[Path, ...],
    head: str,
    engine: str,
    dtype: Dtype | None,
    *,
    as_json: bool,
) -> None:
    """Classify IMAGES by the whole fleet of BUNDLE; exit code 1 if one could not be read."""
    fleet = LocalFleet(Bundle(bundle), engine=engine, dtype=dtype, head=head)
    bad = 0
    for path in images:
        try:
            top5 = fleet.classify(path.read_bytes())
        except (ImageError, OSError) as error:
            click.echo(f"{path}: {error}", err=True)
            bad += 1
            continue
        best = fleet.fusion.answer(top5[0])
        if as_json:
            line = {"file": str(path), **msgspec.to_builtins(best), "top5": top5}
            click.echo(msgspec.json.encode(line))
        else:
            click.echo(f"{path}: {best.label} ({best.confidence:.1%})")
    if bad:
        sys.exit(1)
