"""Which node runs which part. Pure: what is known of the nodes is an argument."""

from collections.abc import Collection, Mapping, Sequence


def assign(
    parts: int,
    members: Mapping[str, int],
    *,
    spares: Sequence[str],
    gone: Collection[str],
) -> dict[str, int]:
    """The members after every part without a node was given to a spare one.

    What is assigned stays assigned, also while a node is away: names and parts are stable over
    reboots. Only a node that is gone loses its part, and only when another one takes it.

    Args:
        parts: how many the bundle has.
        members: node -> part, until now.
        spares: nodes without a part that are there, the best first.
        gone: members that are away for too long.
    """
    assigned = {node: part for node, part in members.items() if part < parts}
    waiting = [node for node in spares if node not in assigned]
    for part in range(parts):
        holders = [node for node, held in assigned.items() if held == part]
        if any(node not in gone for node in holders) or not waiting:
            continue
        for node in holders:
            del assigned[node]
        assigned[waiting.pop(0)] = part
    return assigned
