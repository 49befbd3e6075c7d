"""Templates that make a state or attributes of a message. No name from the wire stands in one."""

MAX_STATE = 255
_CUT = 230
_OWN_STATES = ("", "none", "unknown", "unavailable")


def class_state(field: str, condition: str) -> str:
    """A template that makes a class's name a state that belongs to this class alone.

    Home Assistant has three states of its own, of which a rendered ``None`` is one, cuts white
    space off, and takes no state over 255 characters. A class whose name would be lost so is
    marked as a class.

    Args:
        field: field of the message that holds the name.
        condition: what must hold; otherwise the state is ``unknown``.
    """
    return (
        f"{{% if {condition} %}}{{% set name = value_json.{field} %}}"
        "{% if name | lower in ['', 'none', 'unknown', 'unavailable'] %}{{ name }} (class)"
        "{% elif name | length > 255 or name | trim != name or '(class' in name %}"
        "{{ (name | trim)[:230] }} (class {{ value_json.class_index }})"
        "{% else %}{{ name }}{% endif %}{% else %}None{% endif %}"
    )


def shown_class(name: str, index: int) -> str:
    """The state that :func:`class_state` makes of the class ``name`` with ``index``."""
    if name.lower() in _OWN_STATES:
        return f"{name} (class)".strip()
    if len(name) > MAX_STATE or name.strip() != name or "(class" in name:
        return f"{name.strip()[:_CUT]} (class {index})".strip()
    return name


def value_template(expression: str, condition: str = "value") -> str:
    """A template of ``expression``; ``None`` where ``condition`` does not hold, or all is deleted.

    An empty message, which deletes the last one, has no ``value_json``.
    """
    known = condition if condition == "value" else f"value and {condition}"
    return f"{{{{ ({expression}) if {known} else None }}}}"


def fields_template(*fields: str) -> str:
    """A template that shows these fields of the message beside the state."""
    chosen = ", ".join(f"'{name}': value_json.{name}" for name in fields)
    return f"{{{{ ({{{chosen}}} if value else {{}}) | tojson }}}}"
