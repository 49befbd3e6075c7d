"""``devit bundle``: make a bundle from a checkpoint, look at one, prove one."""

import os
from pathlib import Path
from typing import get_args

import click
import msgspec

from devit_iot.bundle import signature
from devit_iot.bundle.calibration import sign_calibrations
from devit_iot.bundle.head import head_names, read_head
from devit_iot.bundle.head_writing import sign_heads
from devit_iot.bundle.manifest import MANIFEST
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import CROPPED, Filter, Fit, macs
from devit_iot.bundle.storage import Dtype
from devit_iot.cli.calibrate import calibrate
from devit_iot.cli.common import one_line_errors
from devit_iot.cli.number import Number
from devit_iot.cli.options import dtype_option, engine_option
from devit_iot.cli.quantize import quantize
from devit_iot.datasets.class_names import read_class_names
from devit_iot.engine.base import load_engine
from devit_iot.engine.tflite_file import tflite_path
from devit_iot.errors import ConfigError, DataError, EngineError
from devit_iot.export.beside import check_normalisation
from devit_iot.export.checkpoint import Weights
from devit_iot.export.importer import ImportOptions, import_checkpoint
from devit_iot.export.prepared import Prepared
from devit_iot.protocol.text import shown

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(path_type=Path)


@click.group()
def bundle() -> None:
    """Import, inspect, verify and sign fleet bundles."""


bundle.add_command(calibrate)
bundle.add_command(quantize)


@bundle.command("import")
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--classes",
    type=EXISTING_FILE,
    help="Class names, one per line or a JSON list; default: those beside the weights.",
)
@click.option("--output", required=True, type=FOLDER, help="Bundle folder to create.")
@click.option("--name", help="Name of the bundle; default: the weights' file name.")
@click.option("--heads", type=click.IntRange(1), help="Attention heads of each block.")
@click.option("--head-dim", type=click.IntRange(1), help="Width of one head, in place of --heads.")
@click.option("--resize", type=click.IntRange(1), help="Short side before the crop, pixels.")
@click.option(
    "--fit",
    type=click.Choice(get_args(Fit)),
    help="crop: the short side gets this size; squash: both sides do.",
)
@click.option(
    "--filter", "by", type=click.Choice(get_args(Filter)), help="By which images are resized."
)
@click.option(
    "--image-size", type=click.IntRange(1), help="Of a CCT, where its positions fit several sizes."
)
@click.option(
    "--mean",
    type=(Number(), Number(), Number()),
    help="Taken from the pixels, red, green and blue, each from 0 to 1.",
)
@click.option("--std", type=(Number(), Number(), Number()), help="What they are then divided by.")
@click.option(
    "--weights",
    "which",
    type=click.Choice(["ema", "raw"]),
    default="ema",
    show_default=True,
    help="Which set of weights, where a file holds the last ones and their average.",
)
@one_line_errors
def import_(  # noqa: PLR0913 - one for each option
    *,
    checkpoint: Path,
    classes: Path | None,
    output: Path,
    name: str | None,
    heads: int | None,
    head_dim: int | None,
    resize: int | None,
    fit: Fit | None,
    by: Filter | None,
    image_size: int | None,
    mean: tuple[float, float, float] | None,
    std: tuple[float, float, float] | None,
    which: Weights,
) -> None:
    """Turn CHECKPOINT, of a ViT, DeiT or CCT, into a bundle of one part.

    CHECKPOINT is a file, or a folder of Hugging Face's or timm's library. What its config.json says
    is taken; options win. What nothing says is assumed, and printed.

    \b
        devit bundle import deit_tiny_patch16_224.safetensors \\
            --classes imagenet.txt --output bundles/deit-tiny
    """
    if (mean is None) != (std is None):
        raise DataError("give both --mean and --std, or none of them")
    given = None if mean is None else check_normalisation(mean, std, "--mean, --std")
    options = ImportOptions(head_dim, Prepared(resize, fit, by), given, image_size, heads, which)
    names = None if classes is None else read_class_names(classes)
    made = import_checkpoint(
        checkpoint, names, output, name=name or checkpoint.stem, options=options
    )
    for note in made.notes:
        click.echo(shown(note))
    click.echo(_table(made.bundle))


@bundle.command()
@click.argument("folder", type=FOLDER)
@engine_option
@dtype_option
@click.option("--trust", default="", help="Public key that must have signed the bundle.")
@one_line_errors
def verify(folder: Path, engine: str, dtype: Dtype | None, trust: str) -> None:
    """Check every file of the bundle FOLDER, and each part's golden image on an engine."""
    opened = Bundle(folder, trust=trust and signature.check_trust(trust))
    opened.verify()
    for part in range(len(opened.manifest.parts)):
        loaded = load_engine(opened.read_part(part), name=engine, dtype=dtype)
        click.echo(f"part {part}: sound on {loaded.name} ({loaded.detail})")
    for name in head_names(opened):
        head = read_head(opened, name)
        click.echo(f"head {name}, version {head.version}, {len(head.classes)} classes: sound")
    click.echo(f"bundle {opened.manifest.name}, fingerprint {opened.manifest.fingerprint}: sound")


@bundle.command("export-tflite")
@click.argument("folder", type=FOLDER)
@click.option("--part", type=click.IntRange(0), help="The part to compile; default: every part.")
@one_line_errors
def export_tflite_(folder: Path, part: int | None) -> None:
    """Compile parts of the bundle FOLDER for TFLite, for boards without our own kernels.

    \b
        devit bundle export-tflite bundles/fleet --part 2
        scp bundles/fleet/part-2.tflite* pi-2:/var/lib/devit/bundle/
    """
    try:
        from devit_iot.engine.tflite_export import export_tflite
    except ImportError as error:
        raise EngineError(
            f"the export needs litert-torch ({error}); pip install 'devit-iot[tflite-export]'"
        ) from error
    opened = Bundle(folder)
    for index in range(len(opened.manifest.parts)) if part is None else [part]:
        read = opened.read_part(index)
        export_tflite(read)
        loaded = load_engine(read, name="tflite")
        click.echo(f"{tflite_path(read)}: sound on {loaded.name} ({loaded.detail})")


@bundle.command()
@click.argument("key", type=click.Path(path_type=Path))
@one_line_errors
def keygen(key: Path) -> None:
    """Make a private key for signing bundles, the new file KEY, and print its public key.

    Keep KEY where no board is; give the public key to services as --trust.
    """
    made = signature.new_key()
    try:
        with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(made)
    except OSError as error:
        raise ConfigError(f"cannot make {key}: {error.strerror}") from error
    click.echo(signature.sign(made, b"")[1])


@bundle.command()
@click.argument("folder", type=FOLDER)
@click.option("--key", required=True, type=EXISTING_FILE, help="Private key of `keygen`.")
@one_line_errors
def sign(folder: Path, key: Path) -> None:
    """Verify the bundle FOLDER, sign it and what lies beside it, and print the public key.

    Beside it lie heads and calibrations. Services take the key as --trust.

    \b
        devit bundle sign bundles/deit-tiny --key signing.key
    """
    opened = Bundle(folder)
    opened.verify()
    signed, public = signature.sign(key.read_bytes(), (folder / MANIFEST).read_bytes())
    (folder / signature.SIGNATURE).write_bytes(signed)
    sign_heads(opened, key.read_bytes())
    sign_calibrations(opened, key.read_bytes())
    click.echo(public)


@bundle.command()
@click.argument("folder", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the cost of each part.")
@one_line_errors
def info(folder: Path, *, as_json: bool) -> None:
    """Describe the bundle FOLDER."""
    opened = Bundle(folder)
    if as_json:
        content = msgspec.to_builtins(opened.manifest)
        content["macs"] = [macs(part.spec) for part in opened.manifest.parts]
        click.echo(msgspec.json.format(msgspec.json.encode(content)).decode())
    else:
        click.echo(_table(opened))


def _table(opened: Bundle) -> str:
    manifest = opened.manifest
    lines = [
        f"{manifest.name}, fingerprint {manifest.fingerprint}, {len(manifest.classes)} classes",
        "part       kB     MMACs  input  dim  blocks  view                  classes",
    ]
    lines += [
        f"{index:4d} {part.weights.size / 1000:8.0f} {macs(part.spec) / 1e6:9.2f} "
        f"{part.spec.image_size:6d} {part.spec.embed_dim:4d} {len(part.spec.blocks):7d}  "
        f"{part.spec.seen!s:20s}  "
        f"{_class_names(manifest.classes, part.classes)}"
        for index, part in enumerate(manifest.parts)
    ]
    lines += [
        f"part {index} resizes images by {part.spec.resized}"
        for index, part in enumerate(manifest.parts)
        if part.spec.resized != CROPPED
    ]
    lines += [
        f"head {name}: {len(head.classes)} classes ({', '.join(head.classes[:10])}), version "
        f"{head.version}"
        for name in head_names(opened)[1:]
        for head in [read_head(opened, name)]
    ]
    lines += [shown(f"{key}: {value}") for key, value in manifest.provenance.items()]
    return "\n".join(lines)


def _class_names(names: tuple[str, ...], labels: tuple[int, ...]) -> str:
    shown = ", ".join(names[label] for label in labels[:10])
    return shown if len(labels) <= 10 else f"{shown}, ... ({len(labels)})"  # noqa: PLR2004
