"""mosquitto.conf of a fleet with certificates."""

from pathlib import Path

CONFIG_FOLDER = "/etc/mosquitto"
DATA_FOLDER = "/var/lib/mosquitto"
_PACKAGE = Path(__file__).resolve().parent.parent

# Settings of the shipped configuration that say who comes in, and by which door.
_DOORS = ("allow_anonymous", "password_file", "acl_file", "listener", "protocol")
_SECURE = """\
# mosquitto 2.0 for the devit-iot fleet '{fleet}', made by `devit fleet`. It replaces Debian's file.

# Who may connect: whoever shows a certificate of this fleet that was not revoked. The name in it
# is the user, and the client's id too: otherwise one node could throw out another one, or take
# over its session, by calling itself like it.
allow_anonymous false
listener {port}
cafile {folder}/ca.crt
certfile {folder}/broker.crt
keyfile {folder}/broker.key
crlfile {folder}/crl.pem
require_certificate true
use_identity_as_username true
use_username_as_clientid true

# Who may publish and read what.
acl_file {folder}/acl
"""


def mosquitto_conf(fleet: str, *, port: int, folder: str, data_folder: str) -> str:
    """The configuration: certificates and access list, then limits and logs as shipped.

    Args:
        fleet: the fleet's name.
        port: port of the TLS listener, the only one.
        folder: where the broker finds its files.
        data_folder: where it keeps retained and waiting messages.
    """
    paragraphs = _shipped().strip().split("\n\n")[1:]  # the first one says what the file is
    kept = [
        text for text in paragraphs if not any(line.startswith(_DOORS) for line in _lines(text))
    ]
    body = "\n\n".join(kept).replace(f"{DATA_FOLDER}/", f"{data_folder}/")
    return _SECURE.format(fleet=fleet, port=port, folder=folder) + f"\n{body}\n"


def _lines(paragraph: str) -> list[str]:
    return [line for line in paragraph.splitlines() if not line.startswith("#")]


def _shipped() -> str:
    """``broker/mosquitto.conf``, in an installation or a checkout."""
    folders = (_PACKAGE / "broker", _PACKAGE.parent / "broker")
    found = next(path for folder in folders if (path := folder / "mosquitto.conf").is_file())
    return found.read_text()
