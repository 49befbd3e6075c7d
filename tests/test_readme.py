"""What the README says of options, compared with the options."""

from pathlib import Path
from typing import Any

import msgspec

from devit_iot.cli.options import AGGREGATOR, CLIENT, FLEET, HOME_ASSISTANT, NODE, Setting
from devit_iot.config import Config

README = (Path(__file__).parent.parent / "README.md").read_text()


def default(setting: Setting) -> str:
    if setting.key == "images":
        return "see below"
    value: Any = Config()
    for name in setting.key.split("."):
        value = getattr(value, name)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`" if value not in ("", ()) else ""


def table() -> str:
    lines = ["| option | variable | key | default | |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| `{s.flag}` | `{s.variable}` | `{s.key}` | {default(s)} | {s.help} |"
        for s in (*CLIENT, *FLEET, *NODE, *AGGREGATOR, *HOME_ASSISTANT)
    ]
    return "\n".join(lines)


def test_the_table_of_options_is_current() -> None:
    assert table() in README, f"paste this into README.md:\n{table()}"


def keys(kind: type[msgspec.Struct], prefix: str = "") -> set[str]:
    found = set()
    for field in msgspec.structs.fields(kind):
        nested = isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
        name = prefix + field.name
        found |= keys(field.type, name + ".") if nested else {name}
    return found


def test_keys_without_an_option_are_named() -> None:
    with_option = {
        setting.key for setting in (*CLIENT, *FLEET, *NODE, *AGGREGATOR, *HOME_ASSISTANT)
    }
    for key in keys(Config) - with_option:
        assert f"`{key}`" in README, key
