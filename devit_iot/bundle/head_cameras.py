"""Which cameras a head was given while the fleet runs, beside what the configuration says.

``heads/<name>/cameras.json`` holds their names. It belongs to one machine: no signature covers it.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from devit_iot.bundle.durable import sync_folder
from devit_iot.bundle.head import FOLDER, head_names
from devit_iot.bundle.reading import Bundle
from devit_iot.errors import BundleError
from devit_iot.protocol.label import DEFAULT_HEAD
from devit_iot.protocol.text import is_camera

CAMERAS = "cameras.json"
_MAX_BYTES = 64 * 2**10


def give_cameras(bundle: Bundle, name: str, cameras: Iterable[str]) -> None:
    """Note for good which cameras a head answers for; no cameras take it away from all.

    Raises:
        BundleError: it cannot be written.
    """
    path = bundle.path / FOLDER / name / CAMERAS
    partial = path.with_name(f"{CAMERAS}.partial")
    try:
        with partial.open("wb") as file:
            file.write(msgspec.json.encode(tuple(cameras)))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise BundleError(f"cannot note the cameras of head '{name}': {error.strerror}") from error


def cameras_of(bundle: Bundle, name: str) -> tuple[str, ...]:
    """The cameras that a head was given; none if the file is missing or damaged."""
    return _read(bundle.path / FOLDER / name / CAMERAS)


def given_heads(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """The heads that each camera was given, the latest first."""
    files = [
        bundle.path / FOLDER / name / CAMERAS for name in head_names(bundle) if name != DEFAULT_HEAD
    ]
    there = [path for path in files if path.is_file()]
    there.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    given: dict[str, tuple[str, ...]] = {}
    for path in there:
        for camera in _read(path):
            given[camera] = (*given.get(camera, ()), path.parent.name)
    return given


def _read(path: Path) -> tuple[str, ...]:
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(_MAX_BYTES), type=tuple[str, ...])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return ()
    return tuple(camera for camera in found if is_camera(camera))
