"""What lets a bare board join: one line for a shell, or user-data for cloud-init.

The line holds the fingerprint of the fleet's authority. It fetches the authority's certificate from
the hub, believes it only if the fingerprint is that, and speaks only to a server that has a
certificate of it from then on.
"""

import hashlib
import json
import re
import shlex
from typing import NamedTuple

_CODE = (
    "import sys,ssl,hashlib,urllib.request as r;"
    'sys.excepthook=lambda*e:print("Error: cannot join by",u,":",e[1],file=sys.stderr);'
    "u,f=sys.argv[1:3];"
    "g=lambda p,c:r.build_opener(r.ProxyHandler({}),r.HTTPSHandler(context=c))"
    ".open(u+p,timeout=60).read();"
    'a=g("/join/ca.der",ssl._create_unverified_context());'
    "hashlib.sha256(a).hexdigest()==f or "
    'sys.exit(f"Error: {u} is not the hub of this fleet: its authority is another one");'
    'exec(g("/join/board.py",ssl.create_default_context(cadata=a)));'
    "main(a,sys.argv[1:])"
)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_UNIT = """\
[Unit]
Description=devit-iot: join the fleet
Wants=network-online.target
After=network-online.target
ConditionPathExists=/etc/devit/join
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/bin/sh /etc/devit/join
ExecStartPost=/bin/rm /etc/devit/join
Restart=on-failure
RestartSec=30

[Install]
WantedBy=multi-user.target
"""


class Ticket(NamedTuple):
    """What one board needs to join.

    Attributes:
        url: where boards reach the hub, https.
        authority: certificate of the fleet's authority, DER.
        name: name of the board.
        token: token of its line.
    """

    url: str
    authority: bytes
    name: str
    token: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate, as ``openssl x509 -fingerprint`` shows it."""
        return hashlib.sha256(self.authority).hexdigest()


def join_line(ticket: Ticket, prefix: str = "") -> str:
    """A line for any shell on a board with Python 3.11 or later.

    It begins with a space: bash then keeps it, and the token in it, out of its history on Debian.

    Args:
        ticket: what the board needs.
        prefix: folder in which everything is put, and in which the node runs in the foreground;
            empty: a service of systemd.
    """
    words = [ticket.url, ticket.fingerprint, ticket.name, ticket.token, *[prefix] * bool(prefix)]
    sudo = "" if prefix else "sudo "
    return f" {sudo}{_command(words)}"


def user_data(ticket: Ticket) -> str:
    """The file ``user-data`` for cloud-init: the board tries to join until it has joined."""
    words = [ticket.url, ticket.fingerprint, ticket.name, ticket.token]
    files = [
        ("/etc/devit/join", "0600", f"exec {_command(words)}\n"),
        ("/etc/systemd/system/devit-join.service", "0644", _UNIT),
    ]
    lines = [
        "#cloud-config",
        f"# Made by `devit fleet add {ticket.name}`: good for one board, once.",
    ]
    lines += [f"hostname: {json.dumps(ticket.name)}"] * bool(_HOST.fullmatch(ticket.name))
    lines.append("write_files:")
    for path, mode, content in files:
        lines += [f"  - path: {path}", f'    permissions: "{mode}"']
        lines.append(f"    content: {json.dumps(content)}")
    lines += ["runcmd:", "  - [systemctl, daemon-reload]"]
    lines.append("  - [systemctl, enable, --now, --no-block, devit-join.service]")
    return "\n".join(lines) + "\n"


def _command(words: list[str]) -> str:
    return f"python3 -c {shlex.quote(_CODE)} {' '.join(map(shlex.quote, words))}"
