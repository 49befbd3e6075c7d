"""Which node runs which part. Pure: what is known of the nodes is an argument."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple


class Nodes(NamedTuple):
    """What counts of the nodes.

    Attributes:
        spares: nodes without a part that are there, the best first.
        gone: members that are away for too long.
        unsteady: spares that came back only now: they take over from nobody yet.
        pinned: node -> the part that its operator chose.
        fits: whether a node has the memory for a part.
        power: node -> how strong it is.
    """

    spares: Sequence[str]
    gone: Collection[str] = ()
    unsteady: Collection[str] = ()
    pinned: Mapping[str, int] = {}
    fits: Callable[[str, int], bool] = lambda _node, _part: True
    power: Mapping[str, float] = {}


def assign(
    parts: int,
    members: Mapping[str, int],
    nodes: Nodes,
    *,
    needs: Sequence[int] = (),
    replicas: bool = False,
) -> dict[str, int]:
    """The members after every part without a node was given to one.

    What is assigned stays assigned, also while a node is away: names and parts are stable over
    reboots. Only a node that is gone loses its part, and only when another one takes it: a spare,
    or one of several that live with another part. A pinned node has its part and no other.

    Args:
        parts: how many the bundle has.
        members: node -> part, until now.
        nodes: what counts of the nodes.
        needs: memory that each part needs; the largest is given away first. Empty: all alike.
        replicas: whether spares join the parts whose nodes are weakest.
    """
    assigned = {
        node: part
        for node, part in members.items()
        if part < parts and nodes.pinned.get(node, part) == part
    }
    assigned |= {node: part for node, part in nodes.pinned.items() if part < parts}
    for part in sorted(range(parts), key=lambda index: -needs[index] if needs else 0):
        holders = [node for node, held in assigned.items() if held == part]
        if any(node not in nodes.gone for node in holders):
            continue
        taker = _taker(part, assigned, nodes, takes_over=bool(holders))
        if taker is None:
            continue
        for node in holders:
            if node not in nodes.pinned:
                del assigned[node]
        assigned[taker] = part
    if replicas:
        _join(parts, assigned, nodes)
    return assigned


def _taker(part: int, assigned: Mapping[str, int], nodes: Nodes, *, takes_over: bool) -> str | None:
    """Who takes a part that no living node has; None: nobody can."""
    living = [node for node in assigned if node not in nodes.gone]
    held = [assigned[node] for node in living]
    spares = [
        node
        for node in nodes.spares
        if node not in assigned
        and node not in nodes.pinned
        and not (takes_over and node in nodes.unsteady)
    ]
    surplus = [n for n in living if held.count(assigned[n]) > 1 and n not in nodes.pinned]
    able = (node for node in (*spares, *surplus) if nodes.fits(node, part))
    return next(able, None)


def _join(parts: int, assigned: dict[str, int], nodes: Nodes) -> None:
    """Give each spare that is left to the part whose nodes are weakest."""
    for node in nodes.spares:
        able = [part for part in range(parts) if nodes.fits(node, part)]
        if node in assigned or node in nodes.pinned or node in nodes.unsteady or not able:
            continue
        power = {
            part: sum(nodes.power.get(n, 0.0) for n, held in assigned.items() if held == part)
            for part in able
        }
        count = {part: list(assigned.values()).count(part) for part in able}
        assigned[node] = min(able, key=lambda part: (power[part], count[part], part))
