"""The part of a cell's mosquitto.conf that sends labels, states and statuses to an upper broker."""

import msgspec

from devit_iot.fleet.upper_access import cell_user, labels_user
from devit_iot.protocol.cells import CellTopics, answers, present
from devit_iot.protocol.topics import Topics

UPPER_AUTHORITY = "upper-ca.crt"
"""File of the certificate authority of the upper broker, in a cell's broker folder."""

_BRIDGES = """
# Bridges to the upper broker, as the cell '{cell}'. Nothing comes down; no image goes up.
#
# Labels wait here while the upper broker cannot be reached, as many as max_queued_messages says.
connection {labels_user}
cleansession false
notifications false
{labels}
{labels_link}

# Of states and statuses the last word counts: with a connection they are sent anew, so that what
# the upper broker shows is true again at once. It says 0 in our name when we are cut off.
connection {cell_user}
cleansession true
notifications true
notification_topic {connected}
{present}
{cell_link}
"""
# A ping every 5 s, the least that mosquitto takes: a silent cut is noticed in 10 s at either end,
# and an attempt to connect that nobody answers is given up as soon.
# A bridge tries again 1 to 3 s after its connection ended: mosquitto counts whole seconds. Without
# the second number mosquitto 2.0.11 waits 5 s and longer after the first attempt that fails.
_LINK = """\
address {host}:{port}
remote_clientid {user}
bridge_cafile {folder}/{authority}
bridge_certfile {folder}/{user}.crt
bridge_keyfile {folder}/{user}.key
bridge_attempt_unsubscribe false
keepalive_interval 5
restart_timeout 1 1"""


class Bridge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a cell's broker sends what an upper broker shows.

    Attributes:
        cell: name of the cell.
        host: name or address of the upper broker's machine.
        port: port of its TLS listener.
    """

    cell: str
    host: str
    port: int


def bridge_conf(fleet: str, bridge: Bridge, *, folder: str) -> str:
    """The lines to add to mosquitto.conf.

    Args:
        fleet: the fleet's name.
        bridge: where to.
        folder: where the cell's broker finds its files.
    """
    upper = CellTopics(fleet, bridge.cell)

    def topic_lines(filters: tuple[str, ...]) -> str:
        return "\n".join(f'topic {wanted} out 1 "" {upper.prefix}' for wanted in filters)

    def link(user: str) -> str:
        return _LINK.format(
            host=bridge.host,
            port=bridge.port,
            user=user,
            folder=folder,
            authority=UPPER_AUTHORITY,
        )

    topics = Topics(fleet)
    return _BRIDGES.format(
        cell=bridge.cell,
        labels_user=labels_user(bridge.cell),
        labels=topic_lines(answers(topics)),
        labels_link=link(labels_user(bridge.cell)),
        cell_user=cell_user(bridge.cell),
        connected=upper.connected,
        present=topic_lines(present(topics)),
        cell_link=link(cell_user(bridge.cell)),
    )
