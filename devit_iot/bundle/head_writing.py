"""Writes a head beside its bundle: first all of it, then the one name that makes it live."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from devit_iot.bundle.head import (
    CURRENT,
    FOLDER,
    FORMAT,
    HEAD,
    SIGNATURE,
    TENSORS,
    VERSION,
    Fit,
    Head,
    HeadManifest,
    check_head_name,
    current_folder,
    decode_head,
    head_fingerprint,
    head_names,
    read_head,
)
from devit_iot.bundle.manifest import file_entry
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.signature import sign
from devit_iot.bundle.spec import FusionSpec
from devit_iot.bundle.storage import Array
from devit_iot.bundle.tensor_file import write_tensors
from devit_iot.errors import BundleError, ConfigError
from devit_iot.protocol.crop import Crop
from devit_iot.protocol.label import DEFAULT_HEAD


def write_head(  # noqa: PLR0913 - one for each field of the file
    bundle: Bundle,
    name: str,
    *,
    classes: Sequence[str],
    tensors: Mapping[str, Array],
    unknown: float,
    fit: Fit,
    provenance: Mapping[str, str],
    key: bytes = b"",
    crop: Crop | None = None,
) -> Head:
    """Write a head, make it live, and return it as it is read back.

    The version that was live before stays on disk, and stays live if anything fails.

    Args:
        bundle: bundle whose parts make the features.
        name: name of the head.
        classes: at least two names.
        tensors: what :meth:`devit_iot.bundle.spec.FusionSpec.tensors` lists, by name, float32.
        unknown: see :class:`devit_iot.bundle.head.Head`.
        fit: how it was fitted.
        provenance: for people.
        key: private key in PEM that signs it; empty: it is not signed.
        crop: rectangle of the image that it was taught on; None: the whole image.

    Raises:
        ConfigError: no head can be called so, or the key is none.
        BundleError: a tensor has another shape, or the head cannot be written.
    """
    if check_head_name(name) == DEFAULT_HEAD:
        raise ConfigError(f"'{DEFAULT_HEAD}' is the bundle's own fusion; choose another name")
    dims = bundle.manifest.fusion_spec.feature_dims
    for tensor in FusionSpec(len(classes), dims).tensors():
        array = tensors[tensor.name]
        if (array.shape, array.dtype.name) != (tensor.shape, tensor.dtype):
            raise BundleError(f"tensor '{tensor.name}': expected {tensor}, got {array.shape}")
        if not np.isfinite(array).all():
            raise BundleError(f"tensor '{tensor.name}' holds NaN or infinity")
    home = bundle.path / FOLDER / name
    staging = home / "new.partial"
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        write_tensors(staging / TENSORS, tensors)
        head = HeadManifest(
            FORMAT,
            VERSION,
            name,
            "",
            bundle.parts_fingerprint.hex(),
            tuple(classes),
            file_entry(staging / TENSORS),
            unknown,
            fit,
            dict(provenance),
            msgspec.UNSET if crop is None else crop,
        )
        head = msgspec.structs.replace(head, fingerprint=head_fingerprint(head))
        text = msgspec.json.format(msgspec.json.encode(head)) + b"\n"
        (staging / HEAD).write_bytes(text)
        if key:
            (staging / SIGNATURE).write_bytes(sign(key, text)[0])
        decode_head(home / head.fingerprint / HEAD, text)
        _store(staging, home / head.fingerprint)
        _make_live(home, head.fingerprint)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise BundleError(
            f"cannot write head '{name}' to {home}: {error.strerror}; what was live before stays"
        ) from error
    return read_head(bundle, name)


def copy_head(source: Bundle, name: str, target: Bundle) -> None:
    """Make the live version of a head live beside another bundle with the same parts too.

    Raises:
        BundleError: the head is damaged, or belongs to other parts than the target's, or cannot be
            written.
    """
    head = read_head(source, name)
    if source.parts_fingerprint != target.parts_fingerprint:
        raise BundleError(
            f"head '{name}' belongs to other parts than bundle '{target.manifest.name}': teach it "
            "on this bundle"
        )
    home = target.path / FOLDER / name
    staging = home / "new.partial"
    try:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.copytree(current_folder(source, name), staging)
        _store(staging, home / head.version)
        _make_live(home, head.version)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise BundleError(f"cannot write head '{name}' to {home}: {error}") from error


def sign_heads(bundle: Bundle, key: bytes) -> tuple[str, ...]:
    """Sign the live version of every head but ``default``; returns their names.

    Raises:
        ConfigError: ``key`` is no private key.
        BundleError: a head is damaged.
    """
    names = tuple(name for name in head_names(bundle) if name != DEFAULT_HEAD)
    for name in names:
        read_head(bundle, name)
        folder = current_folder(bundle, name)
        (folder / SIGNATURE).write_bytes(sign(key, (folder / HEAD).read_bytes())[0])
    return names


def _store(staging: Path, folder: Path) -> None:
    """Give a whole version its name; of one that is there, equal bytes take each file's place."""
    for file in staging.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    if not folder.exists():
        staging.rename(folder)
        return
    for file in staging.iterdir():
        file.replace(folder / file.name)
    staging.rmdir()


def _make_live(home: Path, version: str) -> None:
    partial = home / f"{CURRENT}.partial"
    with partial.open("w") as file:
        file.write(version + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(home / CURRENT)
