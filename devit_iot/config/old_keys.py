"""Keys of the configuration that have a new name; the old one still works, with a warning."""

import logging
from typing import Any

from devit_iot.errors import ConfigError

logger = logging.getLogger(__name__)

LAST_VERSION = "0.1"
"""The last minor version that takes the old names of keys, options and variables."""

OLD_KEYS = {
    "cameras": "camera_apps",
    "broker.settle_s": "broker.persist_s",
    "node.memory_mb": "node.memory_mib",
    "node.max_waiting_mb": "node.max_waiting_mib",
}
"""Old dotted key -> the key that has its place."""


def rename_old_keys(table: dict[str, Any], file: str) -> None:
    """Move the values of old keys in ``table`` to the new ones, and warn in one line for each.

    Args:
        table: a whole file, as it was parsed.
        file: the file's name, for messages.

    Raises:
        ConfigError: the file has the old key and the new one.
    """
    for old, new in OLD_KEYS.items():
        section, _, old_name = old.rpartition(".")
        new_name = new.rpartition(".")[2]
        keys = table.get(section) if section else table
        if not isinstance(keys, dict) or old_name not in keys:
            continue
        if new_name in keys:
            raise ConfigError(f"{file}: '{old}' and '{new}' are the same key; keep '{new}'")
        keys[new_name] = keys.pop(old_name)
        logger.warning("%s: %s", file, renamed(f"key '{old}'", new))


def renamed(old: str, new: str) -> str:
    """The warning for an old name."""
    return (
        f"{old} is now called '{new}'; {LAST_VERSION} is the last version that takes the old name"
    )
