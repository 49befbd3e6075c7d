"""Manifests changed behind the bundle's back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from devit_iot.bundle.manifest import Manifest, fingerprint_of

Edit = Callable[[dict[str, Any]], None]


def edit(path: Path, change: Edit, *, seal: bool = False) -> None:
    """Change the manifest; with ``seal`` its fingerprint too, as a hostile owner would."""
    fields = json.loads((path / "manifest.json").read_text())
    change(fields)
    if seal:
        manifest = msgspec.convert(fields, Manifest)
        fields["fingerprint"] = fingerprint_of(manifest)
    (path / "manifest.json").write_text(json.dumps(fields))
