"""A program that asks a hub again and again: `python hub_watcher.py CONFIG URL TOKEN_FILE OUTPUT`.

The hub may be in a network in which the test is not. What it says is in the file OUTPUT, as JSON;
the file is empty while the hub does not answer.
"""

import sys
import time
from pathlib import Path

import msgspec

from devit_iot.config.config import load_config
from devit_iot.errors import DevitError
from devit_iot.hub.client import HubClient
from devit_iot.transport.tls import client_context

INTERVAL_S = 0.2


def main(config: str, url: str, token_file: str, output: str) -> None:
    """Ask until the process is ended."""
    context = client_context(load_config([Path(config)], {}).broker)
    while True:
        try:
            client = HubClient(url, Path(token_file).read_text().strip(), context)
            said = msgspec.json.encode(client.status())
        except (DevitError, OSError):
            said = b""
        partial = Path(f"{output}.partial")
        partial.write_bytes(said)
        partial.replace(output)
        time.sleep(INTERVAL_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
