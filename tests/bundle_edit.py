"""Manifests changed behind the bundle's back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from devit_iot.bundle import bundle as bundle_module
from devit_iot.bundle.bundle import Manifest

Edit = Callable[[dict[str, Any]], None]


def edit(path: Path, change: Edit, *, seal: bool = False) -> None:
    """Change the manifest; with ``seal`` its fingerprint too, as a hostile owner would."""
    fields = json.loads((path / "manifest.json").read_text())
    change(fields)
    if seal:
        manifest = msgspec.convert(fields, Manifest)
        fields["fingerprint"] = bundle_module._fingerprint(manifest)
    (path / "manifest.json").write_text(json.dumps(fields))
