"""A part compiled for TFLite, beside the bundle's files. Normative: docs/bundle.md, section 6.

``part-<i>.tflite`` is the network; ``part-<i>.tflite.json`` says of which weights it was made, so
that a stale, foreign or damaged network is refused before a runtime parses it.
"""

from pathlib import Path

import msgspec

from devit_iot.bundle.manifest import FileEntry, file_entry
from devit_iot.bundle.reading import Part
from devit_iot.errors import BundleError

FORMAT = "devit-tflite"
VERSION = 1


class TfliteManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of ``part-<i>.tflite.json``.

    Attributes:
        format: ``devit-tflite``.
        version: 1.
        weights: SHA-256 of the part's safetensors file, in hex.
        model: the network's file.
    """

    format: str
    version: int
    weights: str
    model: FileEntry


def tflite_path(part: Part) -> Path:
    """Where the network of ``part`` belongs, whether it is there or not."""
    return part.folder / f"part-{part.index}.tflite"


def write_manifest(part: Part) -> None:
    """Vouch for the file at :func:`tflite_path` as it is now.

    Raises:
        BundleError: the network cannot be read, or its manifest cannot be written.
    """
    model = tflite_path(part)
    try:
        manifest = TfliteManifest(FORMAT, VERSION, part.entry.weights.sha256, file_entry(model))
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        _manifest_path(model).write_bytes(text + b"\n")
    except OSError as error:
        raise BundleError(f"no manifest of {model} can be written: {error}") from error


def verified_model(part: Part) -> Path:
    """The network of ``part``, checked byte for byte.

    Raises:
        BundleError: it is missing, damaged, or was made of other weights.
    """
    model = tflite_path(part)
    path = _manifest_path(model)
    remedy = f"run: devit bundle export-tflite {part.folder} --part {part.index}"
    for needed in (model, path):
        if not needed.is_file():
            raise BundleError(f"{needed} is missing; {remedy}, where devit-iot[tflite-export] is")
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=TfliteManifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise BundleError(f"{path} cannot be read: {error}; {remedy}") from error
    if (manifest.format, manifest.version) != (FORMAT, VERSION):
        found = f"{manifest.format} {manifest.version}"
        raise BundleError(f"{path} is of {found}, not of {FORMAT} {VERSION}; {remedy}")
    if manifest.weights != part.entry.weights.sha256:
        raise BundleError(
            f"{model} was made of other weights than those of part {part.index}; {remedy}"
        )
    if file_entry(model) != manifest.model:
        raise BundleError(f"{model} is not the file that {path.name} names; copy both again")
    return model


def _manifest_path(model: Path) -> Path:
    return model.with_name(model.name + ".json")
