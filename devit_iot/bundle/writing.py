"""Writes a fleet bundle into a new folder, and verifies it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from devit_iot.bundle.manifest import (
    FORMAT,
    MANIFEST,
    FileEntry,
    Manifest,
    PartEntry,
    file_entry,
    fingerprint_of,
    needed_version,
)
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import FusionSpec, SubVitSpec, TensorSpec
from devit_iot.bundle.storage import Array, Storage, pack, unpack
from devit_iot.bundle.tensor_file import write_tensors
from devit_iot.errors import BundleError


class PartData(msgspec.Struct, frozen=True):
    """What :func:`write_bundle` needs of one part.

    Attributes:
        spec: the part's shape.
        classes: the classes that the part was made for.
        tensors: the tensors that engines take, the golden pair too. With float16 they are those
            that :func:`devit_iot.bundle.storage.as_stored` gives, and so is the golden feature.
        dtype: element type of the part's matrices on disk.
    """

    spec: SubVitSpec
    classes: tuple[int, ...]
    tensors: Mapping[str, Array]
    dtype: Storage = "float32"


def write_bundle(
    path: Path,
    *,
    name: str,
    classes: Sequence[str],
    parts: Sequence[PartData],
    fusion: Mapping[str, Array],
    provenance: Mapping[str, str],
) -> Bundle:
    """Write a bundle into the new folder ``path`` and return it, verified.

    Raises:
        BundleError: ``path`` already holds something, a tensor does not match its spec, or a
            matrix is not what :func:`devit_iot.bundle.storage.as_stored` gives.
    """
    import shutil  # brings all compression formats: a node that starts needs none

    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path} exists already; remove it or choose another output")
    staging = path.with_name(path.name + ".partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    entries = []
    for index, part in enumerate(parts):
        expected = (*part.spec.tensors(), *part.spec.golden_tensors())
        target = staging / f"part-{index}.safetensors"
        file = _write_tensors(target, part.tensors, expected, part.dtype)
        entries.append(PartEntry(file, part.spec, part.classes, part.dtype))
    fusion_spec = FusionSpec(len(classes), tuple(part.spec.feature_dim for part in parts))
    manifest = Manifest(
        FORMAT,
        needed_version(part.spec for part in parts),
        name,
        "",
        tuple(classes),
        tuple(entries),
        _write_tensors(staging / "fusion.safetensors", fusion, fusion_spec.tensors()),
        dict(provenance),
    )
    manifest = msgspec.structs.replace(manifest, fingerprint=fingerprint_of(manifest))
    (staging / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    Bundle(staging).verify()
    if path.exists():
        path.rmdir()
    staging.rename(path)
    return Bundle(path)


def _write_tensors(
    path: Path,
    values: Mapping[str, Array],
    expected: Iterable[TensorSpec],
    storage: Storage = "float32",
) -> FileEntry:
    arrays: dict[str, Array] = {}
    for tensor in expected:
        array = values.get(tensor.name)
        if array is None or (array.shape, array.dtype.name) != (tensor.shape, tensor.dtype):
            found = None if array is None else (array.shape, array.dtype.name)
            raise BundleError(f"tensor '{tensor.name}': expected {tensor}, got {found}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BundleError(f"tensor '{tensor.name}' holds NaN or infinity")
        packed = pack(tensor, array, storage)
        if not np.array_equal(unpack(tensor, packed.__getitem__, storage), array):
            raise BundleError(
                f"tensor '{tensor.name}' is not rounded to {storage}, so the golden feature was "
                "not made with it; use as_stored()"
            )
        arrays |= packed
    write_tensors(path, arrays)
    return file_entry(path)
