"""How sure a head is, after some parts, that the others would not change its answer.

Normative: docs/bundle.md. A head's calibration is ``calibration/<head>.json`` beside the bundle. It
names the version of the head and the parts that it was fitted for. Bundles without one are read as
they always were.
"""

import math
from pathlib import Path

import msgspec

from devit_iot.bundle.checked_file import check_signature, read_manifest
from devit_iot.bundle.head import Head, check_head_name, head_names, read_head
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.signature import sign
from devit_iot.errors import BundleError
from devit_iot.protocol.label import DEFAULT_HEAD

FORMAT = "devit-calibration"
VERSION = 2
"""What is written; version 1, which is read, knows no ``scatter``."""

FOLDER = "calibration"


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds after some parts have answered: see :func:`devit_iot.engine.sureness.sureness`.

    Attributes:
        count: number of parts that have answered.
        parts: which ones, ascending; empty: any, where no other stage names them.
        temperature: divisor of the class scores, for evidence that does not scatter.
        gain: what the evidence of the parts that answered counts, where 1 is as in a label.
        slope: factor of the log odds that the answer stays, by those of the most probable class.
        offset: added to them.
        scatter: what each unit of the evidence's scatter adds to the temperature: see
            :func:`devit_iot.engine.sureness.scatter`.
    """

    count: int
    parts: tuple[int, ...]
    temperature: float
    gain: float
    slope: float
    offset: float
    scatter: float = 0.0


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a calibration file.

    Attributes:
        format: ``devit-calibration``.
        version: version of the format.
        head: name of the head.
        head_version: its fingerprint, 16 hex digits.
        parts: fingerprint of the parts, 16 hex digits.
        order: every part once: in this order the fewest parts made the held-out images' labels.
        images: number of held-out images that it was fitted on.
        stages: what holds after some parts.
    """

    format: str
    version: int
    head: str
    head_version: str
    parts: str
    order: tuple[int, ...]
    images: int
    stages: tuple[Stage, ...]


def calibration_path(bundle: Bundle, head: str) -> Path:
    """Where the calibration of a head lies."""
    return bundle.path / FOLDER / f"{check_head_name(head)}.json"


def read_calibration(bundle: Bundle, head: Head) -> Calibration:
    """The calibration of a head.

    Raises:
        BundleError: there is none, it was fitted for another version of the head, is damaged or
            inconsistent, or lacks the signature that the bundle's ``trust`` asks for.
    """
    path = calibration_path(bundle, head.name)
    if not path.is_file():
        raise BundleError(
            f"bundle '{bundle.manifest.name}' holds no calibration of head '{head.name}', which "
            f"`confidence` needs: run `devit bundle calibrate {bundle.path} --head {head.name} "
            "--data DIR`, or leave `confidence` out"
        )
    text = read_manifest(path, "calibration")
    if bundle.trust:
        check_signature(path.with_suffix(".sig"), path, text, bundle.trust, "calibration")
    return decode_calibration(path, text, bundle, head)


def decode_calibration(path: Path, text: bytes, bundle: Bundle, head: Head) -> Calibration:
    """Decode and check a calibration.

    Args:
        path: path of the file, for messages.
        text: content of the file.
        bundle: bundle that it lies in.
        head: head that it is for.

    Raises:
        BundleError: it does not parse, is of another version, inconsistent, or for something else.
    """
    try:
        start = msgspec.json.decode(text, type=dict[str, object])
        if start.get("format") != FORMAT or start.get("version") not in range(1, VERSION + 1):
            raise BundleError(
                f"{path} is {start.get('format')} version {start.get('version')}, this release "
                f"reads {FORMAT} versions 1 to {VERSION}; calibrate again with this release"
            )
        found = msgspec.json.decode(text, type=Calibration)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise BundleError(f"{path} does not parse: {error}; calibrate again") from error
    if (found.head, found.head_version, found.parts) != (
        head.name,
        head.version,
        bundle.parts_fingerprint.hex(),
    ):
        raise BundleError(
            f"{path} was fitted for version {found.head_version[:16]!r} of head "
            f"{found.head[:64]!r}, the bundle's is {head.version}: calibrate again"
        )
    problem = _problem(found, len(bundle.manifest.parts))
    if problem:
        raise BundleError(f"{path}: {problem}; calibrate again")
    return found


def _problem(found: Calibration, parts: int) -> str:
    """What is wrong with a calibration of a bundle of so many parts; empty if nothing is."""
    if sorted(found.order) != list(range(parts)):
        return "its order does not name every part once"
    if {stage.count for stage in found.stages if not stage.parts} != set(range(1, parts)):
        return "a stage is missing"
    for stage in found.stages:
        numbers = (stage.temperature, stage.gain, stage.slope, stage.offset, stage.scatter)
        if (
            not all(map(math.isfinite, numbers))
            or stage.temperature <= 0
            or min(stage.slope, stage.scatter) < 0
        ):
            return "a stage holds numbers that cannot be"
        if found.version == 1 and stage.scatter:
            return "version 1 knows no scatter"
        if stage.parts and (
            len(stage.parts) != stage.count
            or list(stage.parts) != sorted(set(stage.parts) & set(range(parts)))
        ):
            return "a stage names parts that cannot be"
    return ""


def calibrated_order(bundle: Bundle) -> tuple[int, ...]:
    """The order of parts that the calibration of the head ``default`` found best; empty: none did.

    A node asks, which has no head to compare: it reads the order of any calibration of its parts.
    """
    try:
        text = read_manifest(calibration_path(bundle, DEFAULT_HEAD), "calibration")
        found = msgspec.json.decode(text, type=Calibration)
    except (BundleError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
        return ()
    of_parts = found.parts == bundle.parts_fingerprint.hex()
    return found.order if of_parts and not _problem(found, len(bundle.manifest.parts)) else ()


def write_calibration(bundle: Bundle, calibration: Calibration, key: bytes = b"") -> Path:
    """Write a calibration beside its bundle, replacing the one that is there; returns its path.

    Args:
        bundle: bundle whose head it is.
        calibration: what to write.
        key: private key in PEM that signs it; empty: it is not signed.

    Raises:
        BundleError: it cannot be written.
    """
    path = calibration_path(bundle, calibration.head)
    text = msgspec.json.format(msgspec.json.encode(calibration)) + b"\n"
    try:
        path.parent.mkdir(exist_ok=True)
        signature = path.with_suffix(".sig")
        signature.unlink(missing_ok=True)  # an earlier one does not fit any more
        partial = path.with_suffix(".partial")
        partial.write_bytes(text)
        partial.replace(path)
        if key:
            signature.write_bytes(sign(key, text)[0])
    except OSError as error:
        raise BundleError(f"cannot write {path}: {error.strerror}") from error
    return path


def sign_calibrations(bundle: Bundle, key: bytes) -> None:
    """Sign the calibration of every head that has one.

    Raises:
        ConfigError: ``key`` is no private key.
        BundleError: a head or a calibration is damaged.
    """
    for name in head_names(bundle):
        path = calibration_path(bundle, name)
        if path.is_file():
            text = read_manifest(path, "calibration")
            decode_calibration(path, text, bundle, read_head(bundle, name))
            path.with_suffix(".sig").write_bytes(sign(key, text)[0])
