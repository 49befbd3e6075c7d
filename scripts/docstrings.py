"""What structs say of their fields, for tables in documents."""

import inspect
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect as kinds

_WORDS: dict[type, str] = {
    kinds.DateTimeType: "string, RFC 3339",
    kinds.StrType: "string",
    kinds.IntType: "integer",
    kinds.FloatType: "number",
    kinds.BoolType: "boolean",
    kinds.BytesType: "bytes",
    kinds.NoneType: "null",
    kinds.CustomType: "array of numbers",
}


class Field(NamedTuple):
    """One field of a struct.

    Attributes:
        name: the field's name.
        kind: the field's type in the words of JSON and TOML.
        default: the field's default; NODEFAULT if it must be given.
        meaning: the field's line under ``Attributes:``, with Markdown's back quotes.
    """

    name: str
    kind: str
    default: Any
    meaning: str


def fields(struct: type[msgspec.Struct]) -> list[Field]:
    """Every field, in order.

    Raises:
        LookupError: a field has no line under ``Attributes:``, there or in a base class.
    """
    found = msgspec.structs.fields(struct)
    meanings: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        meanings |= attributes(base.__doc__ or "")
    lacking = [field.name for field in found if field.name not in meanings]
    if lacking:
        raise LookupError(f"{struct.__name__}: no line under 'Attributes:' for {lacking}")
    return [
        Field(field.name, words(kinds.type_info(field.type)), _default(field), meanings[field.name])
        for field in found
    ]


def attributes(docstring: str) -> Mapping[str, str]:
    """Field -> what its line under ``Attributes:`` says, on one line."""
    section = inspect.cleandoc(docstring).partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", section, re.MULTILINE)
    return {name: _markdown(" ".join(text.split())) for name, text in entries}


def _markdown(text: str) -> str:
    """Sphinx's marks as Markdown's."""
    return re.sub(r":\w+:`", "`", text).replace("``", "`")


def words(kind: kinds.Type) -> str:
    """A type in the words of JSON and TOML."""
    match kind:
        case kinds.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in sorted(map(str, values)) if value)
        case kinds.UnionType(types=types):
            return " or ".join(words(one) for one in types)
        case kinds.VarTupleType(item_type=item):
            return f"array of {_plural(words(item))}"
        case kinds.DictType(value_type=value):
            return f"object of {_plural(words(value))}"
        case kinds.StructType(cls=cls) | kinds.NamedTupleType(cls=cls):
            return cls.__name__
    return _WORDS[type(kind)]


def _plural(word: str) -> str:
    """The plural of a type in words; names of structs stay as they are."""
    head, _, rest = word.partition(" ")
    return word if head[0].isupper() else f"{head}s {rest}".rstrip()


def _default(field: msgspec.structs.FieldInfo) -> Any:  # noqa: ANN401 - whatever the field holds
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default
