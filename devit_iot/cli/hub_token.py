"""The token that whoever commands a hub must show."""

from pathlib import Path

from devit_iot.config.hub import HubConfig
from devit_iot.errors import ConfigError
from devit_iot.text_file import read_text


def command_token(hub: HubConfig) -> str:
    """The token in the file that the configuration names, or in the hub's folder.

    Raises:
        ConfigError: no file is named, or it cannot be read.
    """
    path = hub.token_file or (hub.folder and str(Path(hub.folder) / "token"))
    if not path:
        raise ConfigError("no token: give --token-file, a copy of `token` in the hub's folder")
    try:
        return read_text(Path(path)).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the token {path}: {error}") from error
