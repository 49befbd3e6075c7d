"""Writes a head beside its bundle: first all of it, then the one name that makes it live."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from devit_iot.bundle.durable import sync_folder
from devit_iot.bundle.head import (
    BEFORE,
    CURRENT,
    FOLDER,
    HEAD,
    SIGNATURE,
    Fit,
    Head,
    current_folder,
    decode_head,
    head_names,
    read_head,
    read_version,
    version_before,
)
from devit_iot.bundle.head_files import (
    HeadFiles,
    PartsOfHead,
    check_files,
    pack_head,
    read_files,
)
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.signature import sign
from devit_iot.bundle.storage import Array
from devit_iot.errors import BundleError
from devit_iot.protocol.crop import Crop
from devit_iot.protocol.label import DEFAULT_HEAD

MOST_VERSIONS = 8
"""Versions of a head that came from elsewhere which are kept; the oldest make room."""


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
    files = pack_head(
        PartsOfHead(bundle.parts_fingerprint.hex(), bundle.manifest.fusion_spec.feature_dims),
        name,
        classes=classes,
        tensors=tensors,
        unknown=unknown,
        fit=fit,
        provenance=provenance,
        key=key,
        crop=crop,
    )
    place_head(bundle, name, files)
    return read_head(bundle, name)


def put_head(bundle: Bundle, name: str, files: HeadFiles) -> str:
    """Check a head that came from elsewhere, write it and make it live; returns its version.

    At most :data:`MOST_VERSIONS` versions stay on disk.

    Raises:
        BundleError: it is refused, see :func:`devit_iot.bundle.head_files.check_files`, or its
            tensors are no tensors, or it cannot be written. What was live before stays.
    """
    check_files(bundle, files, name)
    version = place_head(bundle, name, files, checked=True)
    _forget_old(bundle, name)
    return version


def place_head(bundle: Bundle, name: str, files: HeadFiles, *, checked: bool = False) -> str:
    """Write the files of a head beside a bundle and make it live; returns its version.

    Args:
        bundle: bundle with the parts of the head.
        name: name of the head.
        files: the files.
        checked: whether the version is read back before it is made live.

    Raises:
        BundleError: it cannot be written or read back; what was live before stays.
    """
    version = decode_head(f"head '{name}'", files.manifest).fingerprint
    home = bundle.path / FOLDER / name
    staging = home / "new.partial"
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        for file, content in files.by_name.items():
            _write_file(staging / file, content)
        _store(staging, home / version)
        if checked:
            _prove(bundle, name, version)
        _make_live(home, version)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise BundleError(
            f"cannot write head '{name}' to {home}: {error.strerror}; what was live before stays"
        ) from error
    return version


def make_live(bundle: Bundle, name: str, version: str) -> None:
    """Make a version that is on disk live, after it was verified.

    Raises:
        BundleError: there is no such version, or it is damaged, or the disk is full.
    """
    read_version(bundle, name, version)
    try:
        _make_live(bundle.path / FOLDER / name, version)
    except OSError as error:
        raise BundleError(
            f"cannot make version {version} of head '{name}' live: {error.strerror}"
        ) from error


def copy_head(source: Bundle, name: str, target: Bundle) -> None:
    """Make the live version of a head live beside another bundle with the same parts too.

    Raises:
        BundleError: the head is damaged, or belongs to other parts than the target's, or cannot be
            written.
    """
    read_head(source, name)
    if source.parts_fingerprint != target.parts_fingerprint:
        raise BundleError(
            f"head '{name}' belongs to other parts than bundle '{target.manifest.name}': teach it "
            "on this bundle"
        )
    place_head(target, name, read_files(current_folder(source, name))[1])


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


def _prove(bundle: Bundle, name: str, version: str) -> None:
    """Read a version back; one that cannot be read, and never was live, does not stay."""
    try:
        read_version(bundle, name, version)
    except BundleError:
        home = bundle.path / FOLDER / name
        if version not in {_named(home / CURRENT), _named(home / BEFORE)}:
            shutil.rmtree(home / version, ignore_errors=True)
        raise


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _store(staging: Path, folder: Path) -> None:
    """Give a whole version its name; of one that is there, equal bytes take each file's place."""
    sync_folder(staging)
    if folder.exists():
        for file in staging.iterdir():
            file.replace(folder / file.name)
        staging.rmdir()
    else:
        staging.rename(folder)
    sync_folder(folder.parent)


def _make_live(home: Path, version: str) -> None:
    """Note which version was live, then name the one that is.

    A process that ends between the two leaves the old version live, with itself as the one before.
    """
    old = _named(home / CURRENT)
    if old and old != version:
        _replace(home / BEFORE, old)
    _replace(home / CURRENT, version)


def _named(path: Path) -> str:
    """The version that a file names; empty if there is no such file."""
    return path.read_bytes()[:64].decode("ascii", "replace").strip() if path.exists() else ""


def _replace(path: Path, version: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    _write_file(partial, f"{version}\n".encode())
    partial.replace(path)
    sync_folder(path.parent)


def _forget_old(bundle: Bundle, name: str) -> None:
    """Remove the versions that are neither live, nor live before, nor among the latest."""
    kept = {current_folder(bundle, name).name, version_before(bundle, name)}
    folders = [path for path in (bundle.path / FOLDER / name).iterdir() if path.is_dir()]
    folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in folders[MOST_VERSIONS:]:
        if folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)
