"""Bundles to push: sound ones, and one that a board refuses."""

import json
from pathlib import Path

import msgspec
import numpy as np

from devit_iot.bundle.manifest import MANIFEST, Manifest, file_entry, fingerprint_of
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.tensor_file import TensorFile, write_tensors
from devit_iot.protocol.release import Release
from tests.support.fleets import make_bundle

PARTS = 4


def two_bundles(folder: Path, parts: int = PARTS) -> tuple[Bundle, Bundle]:
    """Two that compute something else."""
    return (
        make_bundle(folder / "one", parts=parts),
        make_bundle(folder / "two", parts=parts, seed=1),
    )


def with_wrong_golden(bundle: Bundle, part: int) -> Bundle:
    """The bundle, changed in place so that the golden check of one part fails."""
    path = bundle.path / bundle.part(part).weights.file
    file = TensorFile(path)
    arrays = {name: np.array(file.read(name)) for name in file.specs}
    arrays["golden.feature"] = -arrays["golden.feature"]
    write_tensors(path, arrays)
    return sealed(bundle.path)


def sealed(folder: Path) -> Bundle:
    """A bundle whose files were changed, with a manifest that says so."""
    fields = json.loads((folder / MANIFEST).read_text())
    for entry in (*(part["weights"] for part in fields["parts"]), fields["fusion"]):
        entry.update(msgspec.to_builtins(file_entry(folder / entry["file"])))
    fields["fingerprint"] = fingerprint_of(msgspec.convert(fields, Manifest))
    (folder / MANIFEST).write_text(json.dumps(fields))
    return Bundle(folder)


def release_of(bundle: Bundle, number: int, members: dict[str, int]) -> Release:
    """A bundle as the hub names it."""
    entry = file_entry(bundle.path / MANIFEST)
    manifest = bundle.manifest
    return Release(
        number,
        manifest.fingerprint,
        entry.sha256,
        entry.size,
        len(manifest.parts),
        members=members,
    )
