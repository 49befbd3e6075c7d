"""Profiles of boards as TOML files: ``devit bench --profile`` writes them, people complete them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from devit_iot.config.struct_file import read_struct
from devit_iot.errors import ConfigError
from devit_iot.protocol.board import BoardProfile


def read_profile(path: Path) -> BoardProfile:
    """The profile in a file.

    Raises:
        ConfigError: it cannot be read or parsed, a key is unknown, or no board can be so.
    """
    profile = read_struct(path, BoardProfile, "profile")
    profile.check(str(path))
    return profile


def write_profile(profile: BoardProfile, path: Path) -> None:
    """Write ``profile`` so that :func:`read_profile` reads the same.

    Raises:
        ConfigError: the file cannot be written.
    """
    lines = ["# A board's profile: docs/fleet.md says what each line means.", *_lines(profile)]
    try:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write the profile {path}: {error}") from error


def _lines(profile: BoardProfile) -> Iterator[str]:
    table = msgspec.to_builtins(profile)
    speeds = table.pop("speed")
    yield from assignments(table)
    for dtype, speed in speeds.items():
        if speed is not None:
            yield from ("", f"[speed.{dtype}]", *assignments(speed))


def assignments(table: Mapping[str, object]) -> Iterator[str]:
    """A flat table as lines of TOML, for JSON's strings, numbers and arrays are TOML's too."""
    for key, value in table.items():
        yield f"{key} = {msgspec.json.encode(value).decode()}"
