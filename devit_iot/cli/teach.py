"""``devit teach``: classes of one's own on a fleet that is there, without touching a board."""

import os
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from devit_iot.bundle.reading import Bundle
from devit_iot.cli.common import one_line_errors
from devit_iot.cli.number import Number
from devit_iot.cli.options import threads_option
from devit_iot.datasets.sources import open_source
from devit_iot.errors import DataError
from devit_iot.evaluation.labels import shown
from devit_iot.evaluation.local import LocalFleet
from devit_iot.protocol.crop import Crop
from devit_iot.teach.cache import FeatureCache
from devit_iot.teach.moments import GAP_S
from devit_iot.teach.report import percent, write_report
from devit_iot.teach.result import TeachResult
from devit_iot.teach.teach import Data, Options, teach
from devit_iot.teach.wrong import wrong_pictures

_SHOWN_WRONG = 24
_UNKNOWN_SHARE = 0.05


def _cache_folder() -> Path:
    """Where a user's programs keep what they can make again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "devit" / "features"


def _crop(_context: click.Context, option: click.Parameter, text: str | None) -> Crop | None:
    """The rectangle that ``x,y,w,h`` says."""
    if text is None:
        return None
    try:
        x, y, w, h = map(float, text.split(","))
        return Crop.of(x, y, w, h)
    except ValueError as error:
        raise click.BadParameter(
            f"'{text}' is no x,y,w,h, for instance 0.5,0.25,0.2,0.3 ({error})", param=option
        ) from error


@click.command("teach")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    metavar="PATH",
    help="One folder of pictures for each class (a folder, zip or tar), or another data set.",
)
@click.option("--name", required=True, help="Name of the head, for instance gate.")
@click.option(
    "--gap",
    type=Number(min=0),
    default=GAP_S,
    show_default=True,
    metavar="SECONDS",
    help="Pictures of a class less apart are of one moment, and measured together; 0: none are.",
)
@click.option(
    "--unknown",
    type=Number(min=0, max=1, max_open=True),
    default=_UNKNOWN_SHARE,
    show_default=True,
    metavar="SHARE",
    help="Right answers, at most, that become 'unknown' for the sake of the others; 0: none.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=_cache_folder,
    show_default="~/.cache/devit/features",
    help="Folder that keeps features.",
)
@click.option(
    "--report", type=click.Path(path_type=Path), help="Folder of the report; default: teach-NAME."
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Private key that signs the head, for services with --trust.",
)
@click.option(
    "--crop",
    callback=_crop,
    metavar="X,Y,W,H",
    help="Rectangle of the pictures that the head looks at, as shares of their sides.",
)
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@one_line_errors
def teach_(  # noqa: PLR0913 - one for each option
    bundle: Path,
    *,
    data: str,
    name: str,
    gap: float,
    unknown: float,
    cache: Path,
    report: Path | None,
    key: Path | None,
    crop: Crop | None,
    threads: int,
    as_json: bool,
) -> None:
    """Teach the fleet of BUNDLE new classes, and measure them on pictures that no fit saw.

    The head is written to BUNDLE/heads/NAME and live at once for commands; no board changes.
    Data with a test split are measured on that too. A folder called 'unknown' holds what is none
    of the classes.

    \b
        devit teach bundles/deit-tiny --data photos/ --name gate
        devit evaluate bundles/deit-tiny --head gate --data later-photos/
    """
    opened = Bundle(bundle)
    fleet = LocalFleet(opened, threads=threads, crop=crop)
    chosen = _open(data)
    for note in chosen.train.notes:
        click.echo(note, err=True)
    dims = opened.manifest.fusion_spec.feature_dims
    with FeatureCache(cache, opened.parts_fingerprint.hex(), dims) as features:
        result, unreadable = teach(
            opened,
            name,
            chosen,
            fleet=fleet,
            cache=features,
            shown=shown,
            options=Options(
                gap,
                unknown,
                b"" if key is None else key.read_bytes(),
                {"taught": datetime.now(UTC).isoformat(timespec="seconds"), "data": data},
            ),
        )
    for line in unreadable:
        click.echo(line, err=True)
    wrong = wrong_pictures(result, chosen.train, opened.part(0).spec, _SHOWN_WRONG)
    written = write_report(report or Path(f"teach-{name}"), result, wrong)
    click.echo(msgspec.json.encode(result) if as_json else _text(result, written))


def _open(data: str) -> Data:
    """The pictures, and those of the test split if there is one."""
    train = open_source(data, Path(), split="train", strict=False)
    try:
        test = open_source(data, Path(), split="test", strict=False)
    except DataError:  # a training split alone
        return Data(train, None)
    return Data(train, None if (test.origin, test.names) == (train.origin, train.names) else test)


def _text(result: TeachResult, report: Path) -> str:
    lines = [
        (
            f"head {result.head}, version {result.version}: {len(result.classes)} classes, "
            f"{result.images} pictures of {result.moments} moments"
        ),
        (
            f"{percent(result.top1)} right of {result.measured} pictures that no fit saw "
            f"({percent(result.interval[0])} to {percent(result.interval[1])} of further ones), "
            f"calibration error {percent(result.ece)}"
        ),
    ]
    if result.unknown:
        lines.append(
            f"'unknown' below {percent(result.unknown)}; of the {percent(result.answered)} above, "
            f"{percent(result.answered_top1)} are right"
        )
    if result.test is not None:
        lines.append(f"{percent(result.test.top1)} right of {result.test.images} test pictures")
    lines += [f"without part {part}: {percent(top1)}" for part, top1 in enumerate(result.each_lost)]
    seconds = result.seconds
    lines += [
        (
            f"{seconds.features:.1f} s for {result.computed} new features, "
            f"{seconds.measure:.1f} s to measure, {seconds.fit:.2f} s to fit"
        ),
        f"report: {report}",
    ]
    return "\n".join(lines)
