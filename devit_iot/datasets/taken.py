"""When a picture was taken, as far as its name or its EXIF block says."""

import io
import re
from datetime import UTC, datetime
from pathlib import PurePosixPath

from PIL import Image

_CALENDAR = re.compile(
    r"(?<!\d)(20\d\d)[-_.]?(\d\d)[-_.]?(\d\d)[-_.T ]{0,3}(\d\d)[-_.:h]?(\d\d)[-_.:m]?(\d\d)(?!\d)"
)
_UNIX = re.compile(r"(?<!\d)(1[5-9]\d{8})(?:\.(\d{1,6})|(\d{3}))?(?!\d)")
_EXIF_IFD = 0x8769
_DATE_TIME_ORIGINAL = 0x9003
_DATE_TIME = 0x0132


def taken_at(name: str, payload: bytes) -> float | None:
    """Seconds since 1970, in whatever time zone the camera has; None where nothing says it.

    A name may hold a date and time (``20260501-123000``, ``2026-05-01 12.30.00``) or Unix seconds
    or milliseconds (``door-1777638600.25-a1b2.jpg``); it goes before the EXIF block.

    Args:
        name: name of the file, folders in front of it.
        payload: the encoded picture.
    """
    stem = PurePosixPath(name).name
    calendar = _CALENDAR.search(stem)
    if calendar is not None:
        moment = _moment([int(digits) for digits in calendar.groups()])
        if moment is not None:
            return moment
    unix = _UNIX.search(stem)
    if unix is not None:
        seconds, decimals, milliseconds = unix.groups()
        return float(f"{seconds}.{decimals or milliseconds or 0}")
    return _exif_time(payload)


def _moment(digits: list[int]) -> float | None:
    year, month, day, hour, minute, second = digits
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:  # digits that are no date
        return None


def _exif_time(payload: bytes) -> float | None:
    try:
        with Image.open(io.BytesIO(payload)) as image:
            exif = image.getexif()
            text = exif.get_ifd(_EXIF_IFD).get(_DATE_TIME_ORIGINAL) or exif.get(_DATE_TIME)
    except Exception:  # noqa: BLE001 - Pillow raises many types for a damaged block
        return None
    digits = re.findall(r"\d+", text) if isinstance(text, str) else []
    return _moment([int(part) for part in digits]) if len(digits) == 6 else None  # noqa: PLR2004
