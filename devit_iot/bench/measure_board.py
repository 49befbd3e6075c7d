"""Measures a board: what it has, and the rates by which the time of any part is predicted.

Six small networks run in turn, so that other work on the board slows all of them alike. Their times
are explained by :func:`devit_iot.bundle.work.work` (docs/fleet.md, eq. 1).
"""

import itertools
import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar, get_args

import numpy as np

from devit_iot import _core
from devit_iot.bench.message_time import echoing
from devit_iot.bench.models import random_image, random_tensors
from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.bundle.storage import Dtype
from devit_iot.bundle.work import Work, work
from devit_iot.datasets.picture import picture_file
from devit_iot.engine.image import load_image
from devit_iot.engine.native import NativeEngine
from devit_iot.errors import ConfigError
from devit_iot.protocol.board import BoardProfile, Speed, Speeds

T = TypeVar("T")

NETWORKS = tuple(
    SubVitSpec(size, size, patch, dim, head_dim, 1, (BlockSpec(heads, mlp),) * 3)
    for size, patch, dim, head_dim, heads, mlp in (
        (32, 4, 192, 64, 3, 384),
        (32, 4, 96, 48, 2, 192),
        (224, 16, 192, 64, 3, 768),
        (224, 16, 384, 64, 3, 600),
        (224, 16, 384, 64, 1, 128),
        (32, 2, 64, 64, 4, 64),
    )
)
"""Three blocks of what parts have: few or many tokens, narrow or wide, much or little attention."""

_SAMPLE_S = 0.1
"""A sample lasts at least so long: longer than a scheduler's slice or a CPU quota's period."""
_LEAST_ROUNDS = 5
_MESSAGE_ROUNDS, _MESSAGES = 7, 5
_OF_THE_MEMORY = 2 / 3
"""What a node may count on, where its configuration does not say less: the rest is the system's."""


class Measuring(NamedTuple):
    """How to measure.

    Attributes:
        threads: number of threads of one inference.
        isa: instruction set to force; empty for the best one.
        seconds: about how long each dtype is measured.
        say: takes a line about what is going on.
    """

    threads: int
    isa: str
    seconds: float
    say: Callable[[str], None]


def measure_board(name: str, memory_mib: int, overhead_mib: int, how: Measuring) -> BoardProfile:
    """The profile of this board; its link and its watts are for people to state.

    Raises:
        ConfigError: nothing is left for a part, see :meth:`BoardProfile.check`.
    """
    speeds: dict[str, Speed] = {}
    for dtype in get_args(Dtype):
        how.say(f"{dtype}: timing {len(NETWORKS)} networks, about {how.seconds:g} s")
        speeds[dtype] = fitted([work(spec) for spec in NETWORKS], _network_times(dtype, how))
    how.say("decoding, and messages")
    profile = BoardProfile(
        name=name,
        machine=platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        threads=how.threads,
        isas=tuple(_core.isas()),
        memory_mib=memory_mib,
        overhead_mib=overhead_mib,
        fma_gflops=round(_core.fma_peak(how.isa), 1),
        decode_ms=_rounded(_decode_ms()),
        message_ms=_rounded(_message_ms(how)),
        speed=Speeds(**speeds),
        note=f"measured by devit bench --profile, {_core.select_isa(how.isa)}",
    )
    profile.check("this board")
    return profile


def usable_memory_mib(proc: Path = Path("/proc")) -> int:
    """MiB that a node may count on: two thirds of what the board has.

    Raises:
        ConfigError: the system does not say.
    """
    try:
        found = re.search(r"^MemTotal: +(\d+) kB$", (proc / "meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found is None:
        raise ConfigError("the system does not say how much memory it has; give --board")
    return int(_OF_THE_MEMORY * int(found[1]) / 1024)


def fitted(works: Sequence[Work], times_ms: Sequence[float]) -> Speed:
    """The rates, none negative, that explain ``times_ms`` with the least relative squared error.

    All subsets of the four terms are tried: the best fit without negative rates is the
    non-negative least squares solution.
    """
    rows = np.array([[*_units(done), 1.0] for done in works])
    scaled = rows / np.asarray(times_ms)[:, None]
    wanted = np.ones(len(rows))
    best, least = np.zeros(4), np.inf
    for size in range(1, 5):
        for terms in itertools.combinations(range(4), size):
            rates = np.linalg.lstsq(scaled[:, terms], wanted, rcond=None)[0]
            error = float(np.sum((scaled[:, terms] @ rates - wanted) ** 2))
            if (rates >= 0).all() and error < least:
                least, best = error, np.zeros(4)
                best[list(terms)] = rates
    return Speed(*(_rounded(float(rate)) for rate in best))


def _units(done: Work) -> tuple[float, float, float]:
    """The work in the units of :class:`Speed`."""
    return done.linear / 1e9, done.attention / 1e9, done.values / 1e6


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _network_times(dtype: Dtype, how: Measuring) -> list[float]:
    """Milliseconds of one inference of each of NETWORKS."""
    runs = []
    for spec in NETWORKS:
        tensors = random_tensors(spec, 0)
        engine = NativeEngine(spec, tensors, threads=how.threads, isa=how.isa, dtype=dtype)
        runs.append(_Repeated(engine.features, random_image(spec)))
    return _in_turn(runs, how.seconds)


class _Repeated(Generic[T]):
    """A call that is timed again and again; the first one, which touches new memory, is not."""

    def __init__(self, call: Callable[[T], object], image: T) -> None:
        self._call, self._image = call, image
        call(image)

    def sample(self) -> float:
        """Milliseconds of one call, the mean over a sample."""
        begin, calls, passed = time.perf_counter(), 0, 0.0
        while passed < _SAMPLE_S:
            self._call(self._image)
            calls += 1
            passed = time.perf_counter() - begin
        return 1e3 * passed / calls


def _in_turn(runs: Sequence[_Repeated[T]], seconds: float) -> list[float]:
    """The median of each run's samples, milliseconds."""
    samples: list[list[float]] = [[] for _ in runs]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples[0]) < _LEAST_ROUNDS:
        for run, kept in zip(runs, samples, strict=True):
            kept.append(run.sample())
    return [float(np.median(kept)) for kept in samples]


def _decode_ms() -> float:
    """Milliseconds of decoding one picture and resizing it to 224 pixels."""
    (found,) = _in_turn([_Repeated(lambda file: load_image(file, NETWORKS[2]), picture_file())], 0)
    return found


def _message_ms(how: Measuring) -> float:
    """Milliseconds of receiving one picture and sending its feature.

    An inference comes before each, as in a node: in a loop of their own messages would find all
    they need in the caches.
    """
    spec, picture, samples = NETWORKS[3], picture_file(), []
    engine = NativeEngine(spec, random_tensors(spec, 0), threads=how.threads, isa=how.isa)
    image = random_image(spec)
    with echoing() as echo:
        for _ in range(_MESSAGE_ROUNDS):
            passed = 0.0
            for _ in range(_MESSAGES):
                engine.features(image)
                begin = time.perf_counter()
                echo.round_trip(picture)
                passed += time.perf_counter() - begin
            samples.append(1e3 * passed / _MESSAGES)
    return float(np.median(samples))
