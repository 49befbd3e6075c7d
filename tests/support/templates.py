"""Home Assistant's templates, rendered as it renders them."""

import json

import pytest

jinja2 = pytest.importorskip("jinja2", reason="jinja2 comes with mkdocs and with torch")
sandbox = pytest.importorskip("jinja2.sandbox")

ENVIRONMENT = sandbox.ImmutableSandboxedEnvironment()


def rendered(template: str, payload: bytes) -> str | None:
    """The text that a template makes of a message; None if it fails."""
    values: dict[str, object] = {"value": payload.decode()}
    if payload:
        values["value_json"] = json.loads(payload)
    try:
        return str(ENVIRONMENT.from_string(template).render(values)).strip()
    except jinja2.TemplateError:
        return None
