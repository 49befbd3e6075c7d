"""Write the tables of docs/configuration.md from the code: `make format`.

    python scripts/configuration_tables.py [--check]

Keys, types, defaults and meanings come from the structs in devit_iot/config, options and variables
from devit_iot/cli/options.py.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from docstrings import Field, fields
from generated import update
from site_reference import shown, table

from devit_iot.cli.old_options import OLD_OPTIONS, OLD_VARIABLES
from devit_iot.cli.options import (
    AGGREGATOR,
    CLIENT,
    COLLECT,
    FLEET,
    HOME_ASSISTANT,
    HUB,
    JOIN_CLIENT,
    NODE,
)
from devit_iot.config.camera_apps import PRESETS
from devit_iot.config.config import Config
from devit_iot.config.crops import CropConfig
from devit_iot.config.images import ImagesConfig
from devit_iot.config.old_keys import OLD_KEYS
from devit_iot.config.states import StateConfig

DOCUMENT = Path(__file__).parent.parent / "docs" / "configuration.md"
GROUPS = (CLIENT, FLEET, NODE, AGGREGATOR, HOME_ASSISTANT, HUB, JOIN_CLIENT, COLLECT)
SETTINGS = {setting.key: setting for group in GROUPS for setting in group}
SETTINGS["images.topic"] = SETTINGS["images"]


def sections() -> dict[str, list[Field]]:
    """Name of a TOML table -> its keys; the file's top level is called ``fleet``."""
    top = fields(Config)
    tables = (
        {
            field.name: fields(type(field.default))
            for field in top
            if isinstance(field.default, msgspec.Struct)
        }
        | {"images": fields(ImagesConfig), "states": fields(StateConfig)}
        | {"crops": fields(CropConfig)}
    )
    return tables | {"fleet": [field for field in top if field.name not in tables]}


def rows(section: str) -> str:
    """One table of keys."""
    prefix = "" if section == "fleet" else f"{section}."
    lines = []
    for field in sections()[section]:
        setting = SETTINGS.get(prefix + field.name)
        ways = f"`{setting.flag}` `{setting.variable}`" if setting else ""
        default = "" if field.default in ("", msgspec.NODEFAULT) else shown(field.default)
        lines.append((f"`{field.name}`", field.kind, default, ways, field.meaning))
    return table(("key", "type", "default", "option and variable", "meaning"), lines)


def cameras() -> str:
    """The table of camera apps."""
    lines = [
        (f"`{name}`", " ".join(f"`{topic}`" for topic in preset.filters), preset.note)
        for name, preset in PRESETS.items()
    ]
    return table(("name", "image topics", ""), lines)


def old_names() -> str:
    """The table of names that are taken for one minor version more."""
    lines = [(f"`{old}`", f"`{new}`", "key") for old, new in OLD_KEYS.items()]
    lines += [(f"`{old}`", f"`{new}`", "variable") for old, new in OLD_VARIABLES.items()]
    where: dict[tuple[str, str], list[str]] = {}
    for path, row in OLD_OPTIONS.items():
        for change in row.items():
            where.setdefault(change, []).append(f"`{path}`")
    lines += [(f"`{old}`", f"`{new}`", ", ".join(paths)) for (old, new), paths in where.items()]
    return table(("old", "new", "where"), lines)


def parts() -> Mapping[str, Callable[[], str]]:
    """Every generated part of the document."""
    tables: dict[str, Callable[[], str]] = {
        name: lambda name=name: rows(name)  # type: ignore[misc]
        for name in sections()
    }
    return tables | {"cameras": cameras, "old names": old_names}


if __name__ == "__main__":
    update(DOCUMENT, parts())
