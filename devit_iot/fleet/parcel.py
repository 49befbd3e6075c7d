"""What one client gets: its files, and one shell line that unpacks them where it is pasted."""

import base64
import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from types import MappingProxyType

MAX_LINE = 4095
"""Bytes of a line that a terminal takes at once (POSIX's MAX_CANON is smaller, Linux's is this)."""


def paste_line(folder: str, files: Mapping[str, bytes]) -> str:
    """A line for any shell with tar, gzip and base64: makes ``folder`` with ``files``, private.

    It begins with a space: bash then keeps it, and the key in it, out of its history on Debian.

    Args:
        folder: a plain name, safe in a shell.
        files: name -> content.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o600
            archive.addfile(entry, io.BytesIO(content))
    payload = base64.b64encode(gzip.compress(packed.getvalue(), mtime=0)).decode()
    unpack = f"echo {payload} | base64 -d | tar xzmf - -C {folder}"
    return f" (umask 077 && mkdir -p {folder} && {unpack})"


def client_config(
    *,
    fleet: str,
    url: str,
    images: Sequence[str],
    trust: str,
    node: str,
    part: int | None,
    updates: Mapping[str, str] = MappingProxyType({}),
    cells: bool = False,
) -> str:
    """``devit.toml`` for one client, beside ca.crt, client.crt and client.key.

    Args:
        fleet: the fleet's name.
        url: the broker's URL.
        images: image filters.
        trust: public key of the bundle's signer, or empty.
        node: name of a node; empty for other clients.
        part: the part that a node runs; None if a hub gives it one.
        updates: keys of the table ``[updates]``; none leaves it out.
        cells: whether the broker is an upper one, which shows cells.
    """
    lines = [f"fleet = {_quoted(fleet)}"]
    lines += [f"trust = {_quoted(trust)}"] if trust else []
    lines += ["cells = true"] if cells else []
    lines += [
        "",
        "[broker]",
        f"url = {_quoted(url)}",
        'ca_file = "ca.crt"',
        'cert_file = "client.crt"',
        'key_file = "client.key"',
    ]
    if node:
        lines += ["", "[node]", f"name = {_quoted(node)}"]
        lines += [] if part is None else [f"part = {part}"]
    if updates:
        lines += ["", "[updates]", *(f"{key} = {_quoted(text)}" for key, text in updates.items())]
    for pattern in images:
        lines += ["", "[[images]]", f"topic = {_quoted(pattern)}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML string; without control characters it is JSON's."""
    return json.dumps(text, ensure_ascii=False)
