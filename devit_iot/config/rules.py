"""What must hold in a table of the configuration."""

from collections.abc import Iterable

from devit_iot.errors import ConfigError

Rules = tuple[tuple[bool, str], ...]
"""Whether each rule holds, and what is wrong where it does not."""


def check_rules(rules: Iterable[tuple[bool, str]]) -> None:
    """Raise ConfigError for the first rule that does not hold."""
    for holds, problem in rules:
        if not holds:
            raise ConfigError(f"configuration: {problem}")
