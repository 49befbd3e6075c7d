"""A TOML file that holds one struct."""

import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from devit_iot.errors import ConfigError
from devit_iot.keys import check_keys
from devit_iot.text_file import read_text

Held = TypeVar("Held", bound=msgspec.Struct)


def read_struct(path: Path, kind: type[Held], what: str) -> Held:
    """The struct in a TOML file.

    Args:
        path: path of the file.
        kind: type of the struct.
        what: what the file is, for messages.

    Raises:
        ConfigError: it cannot be read or parsed, or a key or a value is not one of ``kind``.
    """
    try:
        table = tomllib.loads(read_text(path))
        check_keys(table, kind, "", str(path))
        return msgspec.convert(table, kind)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the {what} {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
