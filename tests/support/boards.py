"""Boards that nobody owns, and families of parts for them."""

import random

from devit_iot.bundle.spec import BlockSpec, SubVitSpec, macs
from devit_iot.planning.prediction import Kind
from devit_iot.planning.problem import Demand, Problem, make_problem
from devit_iot.protocol.board import BoardProfile, Speed, Speeds

IMAGE_BYTES = 75_000


def board(name: str = "pi-0", pace: float = 1.0, **changed: float) -> BoardProfile:
    """A board that is ``pace`` times as slow as one of 20 ms for a billion multiply-adds."""
    figures: dict[str, float] = {
        "memory_mib": 2000,
        "overhead_mib": 500,
        "decode_ms": 2 * pace,
        **changed,
    }
    return BoardProfile(name, speed=speeds(pace), **figures)  # type: ignore[arg-type]


def speeds(pace: float) -> Speeds:
    return Speeds(
        Speed(20 * pace, 22 * pace, 0.1 * pace, 0.01 * pace),
        Speed(19 * pace, 22 * pace, 0.1 * pace, 0.01 * pace),
        Speed(12 * pace, 20 * pace, 0.4 * pace, 0.01 * pace),
    )


def kind(share: float, *, dim: int = 192, name: str = "") -> Kind:
    """A part with about this share of DeiT-Tiny's neurons."""
    block = BlockSpec(max(1, round(3 * share)), max(8, round(768 * share)))
    spec = SubVitSpec(224, 224, 16, dim, 64, 1, (block,) * 12)
    return Kind(name or f"a part of {share:.0%}", spec, macs(spec), 10 * macs(spec) // 1000)


def family(*shares: float) -> tuple[Kind, ...]:
    return tuple(kind(share) for share in shares)


def random_problem(seed: int, boards: int, *, whole: bool | None = None) -> Problem:
    """Boards whose speeds differ by up to 30 times, some short of memory; now and then with a rate.

    There may be no plan; a bundle never has more parts than boards, and each fits on one board.
    """
    rng = random.Random(seed)
    of_bundle = rng.random() < 0.5 if whole is None else whole
    fleet = [
        board(
            f"pi-{index}",
            pace := 30 ** rng.random(),
            memory_mib=rng.choice([530, 560, 700, 2000]) if index else 2000,
            decode_ms=2 * pace,
            link_mbps=rng.choice([5.0, 50.0, 1000.0]),
            link_ms=rng.choice([0.2, 2.0, 5.0]),
        )
        for index in range(boards)
    ]
    if of_bundle:
        kinds = [kind(rng.uniform(0.1, 1.0)) for _ in range(rng.randint(1, boards))]
    else:
        kinds = list(family(*(0.05 * step for step in range(1, 21))))
    total = max(option.macs for option in kinds)
    demand = Demand(
        IMAGE_BYTES,
        rate=rng.choice([0.0, 0.0, 2.0, 10.0]),
        macs=0 if of_bundle else round(total * rng.uniform(0.2, 0.5) * boards**0.5),
    )
    return make_problem(fleet, kinds, demand, whole=of_bundle)
