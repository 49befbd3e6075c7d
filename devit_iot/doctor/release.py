"""Which release a node with a store is to serve, and which part of it."""

from devit_iot.config.config import Config
from devit_iot.doctor.finding import Finding, bad, ok, warn
from devit_iot.errors import MessageError
from devit_iot.protocol.release import Release, Rollout

_CHECK = "release"


def check_release(config: Config, *, granted: bool, payload: bytes | None) -> Finding:
    """Check that the hub's word reaches this node, and say what it is.

    Args:
        config: the node's configuration.
        granted: whether the broker granted the subscription to it.
        payload: what the broker keeps of it; None: nothing.
    """
    remedy = "renew the broker's access list with `devit acl`"
    if not granted:
        return bad(_CHECK, "the broker denies the subscription to the hub's release", remedy)
    if not payload:
        text = "nothing came from a hub: it never ran, or the broker delivers nothing of it"
        return warn(_CHECK, text, f"start `devit hub`, or {remedy}")
    try:
        rollout = Rollout.decode(payload)
    except MessageError as error:
        return bad(_CHECK, f"what the hub says does not parse: {error}", "update both")
    if rollout.wanted is None and rollout.next is None:
        return warn(_CHECK, "the hub has no release yet", "devit fleet push BUNDLE")
    said = [
        f"{what} release {release.number}, bundle {release.fingerprint}, {_duty(config, release)}"
        for what, release in (("serves", rollout.current), ("next is", rollout.next))
        if release is not None
    ]
    how = ["it is on trial"] * rollout.activate + ["the hub is paused"] * rollout.paused
    return ok(_CHECK, "; ".join(said + how))


def _duty(config: Config, release: Release) -> str:
    part = release.members.get(config.node_name)
    pinned = "" if config.node.part is None else f", pinned to part {config.node.part}"
    if part is None:
        return f"this node is a spare{pinned}"
    others = [name for name, held in release.members.items() if held == part]
    beside = f", which {len(others)} nodes share" if len(others) > 1 else ""
    return f"this node has part {part} of {release.parts}{beside}{pinned}"
