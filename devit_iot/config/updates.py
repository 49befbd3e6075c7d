"""``[updates]``: who decides which releases are installed."""

from pathlib import Path
from typing import Literal

import msgspec

from devit_iot.config.rules import Rules
from devit_iot.errors import ConfigError

Expiry = Literal["auto", "always", "never"]


class UpdatesConfig(msgspec.Struct, frozen=True):
    """``[updates]``: nothing is installed that the fleet's owner does not allow.

    Attributes:
        root_file: the fleet's root of trust, which `devit fleet` makes; empty: any release of the
            hub is installed.
        key_file: the hub's own key.
        expiry: whether metadata may be out of date: `auto` judges while the clock follows a time
            server, `always` trusts the clock (one with a battery), `never` does not.
    """

    root_file: str = ""
    key_file: str = ""
    expiry: Expiry = "auto"

    def rules(self) -> Rules:
        """What must hold, and what is wrong where it does not."""
        is_alone = bool(self.key_file) and not self.root_file
        return ((not is_alone, "updates.key_file needs updates.root_file"),)


def read_file(path: str, key: str) -> bytes:
    """The content of a file that a key names.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {key} {path}: {error.strerror}") from error
