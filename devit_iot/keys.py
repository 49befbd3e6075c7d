"""Keys of TOML tables, checked against the structs that they fill."""

from typing import Any, get_args, get_origin

import msgspec

from devit_iot.errors import ConfigError


def check_keys(table: dict[str, Any], kind: type[msgspec.Struct], at: str, source: str) -> None:
    """Raise for the first key that ``kind`` does not have, naming the nearest that it has."""
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in table.items():
        if key not in fields:
            import difflib  # costs every start time, and only a mistake needs it

            near = difflib.get_close_matches(key, fields, n=1, cutoff=0.0)[0]
            raise ConfigError(f"{source}: unknown key '{at}{key}'; did you mean '{at}{near}'?")
        nested = next((t for t in (fields[key], *get_args(fields[key])) if _is_struct(t)), None)
        if nested is None:
            continue
        if get_origin(fields[key]) is dict and isinstance(value, dict):
            items = [(f"{at}{key}.{name}.", item) for name, item in value.items()]
        else:
            items = [
                (f"{at}{key}.", one) for one in (value if isinstance(value, list) else [value])
            ]
        for where, item in items:
            if isinstance(item, dict):
                check_keys(item, nested, where, source)


def _is_struct(kind: Any) -> bool:  # noqa: ANN401 - any annotation of a field
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
