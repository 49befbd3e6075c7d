"""Slow boards on a fast machine: processes that may use a share of one core."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from devit_iot.errors import DevitError

_ROOT = Path("/sys/fs/cgroup")
_PERIOD_US = 4_000
"""A process that used up its share waits for the next period, which a slow board does not: so
periods are short. A quarter of this one is the least quota that Linux takes."""


def dealt_cpus(shares: Mapping[str, float]) -> dict[str, int]:
    """A CPU for each board, none with boards of more than one core together.

    On one CPU the scheduler gives each its quota; spread over several it leaves some waiting.

    Raises:
        DevitError: this machine has too few cores.
    """
    room = dict.fromkeys(sorted(os.sched_getaffinity(0)), 1.0)
    dealt = {}
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        fitting = [cpu for cpu, left in room.items() if left >= share - 1e-9]
        if not fitting:
            raise DevitError(f"{sum(shares.values()):g} cores are more than this machine has")
        dealt[name] = fitting[0]
        room[fitting[0]] -= share
    return dealt


@contextmanager
def board(
    name: str, cores: float, cpu: int, period_us: int = _PERIOD_US
) -> Iterator[Sequence[str]]:
    """A control group that may use ``cores`` of a CPU; yields what to put before a command.

    Args:
        name: name of the group.
        cores: share of one core.
        cpu: the CPU.
        period_us: the share holds for each so many microseconds; it is 1000 of them at least.

    Raises:
        DevitError: control groups cannot be made here.
    """
    with _group(name) as group:
        amount = round(cores * period_us)
        if cgroup_version() == 1:
            (group / "cpu.cfs_period_us").write_text(str(period_us))
            (group / "cpu.cfs_quota_us").write_text(str(amount))
        else:
            (group / "cpu.max").write_text(f"{amount} {period_us}")
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec taskset -c {cpu} "$@"', "sh"]


@contextmanager
def hub() -> Iterator[Sequence[str]]:
    """A control group without a limit, with this process in it, and what puts others there.

    Raises:
        DevitError: control groups cannot be made here.
    """
    with _group("hub") as group:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
        finally:
            (group.parent / "cgroup.procs").write_text(str(os.getpid()))


@contextmanager
def _group(name: str) -> Iterator[Path]:
    """A control group that goes first where other work wants the same CPU."""
    version = cgroup_version()
    group = (_ROOT if version == 2 else _ROOT / "cpu") / f"devit-{os.getpid()}-{name}"  # noqa: PLR2004
    try:
        group.mkdir()
    except OSError as error:
        raise DevitError(f"cannot make the control group {group}: {error}; run as root") from error
    try:
        if version == 1:
            (group / "cpu.shares").write_text("262144")
        else:
            (group / "cpu.weight").write_text("10000")
        yield group
    finally:
        group.rmdir()


def cgroup_version() -> int:
    """Which control groups limit CPUs here: 1 or 2.

    Raises:
        DevitError: none do.
    """
    controllers = _ROOT / "cgroup.controllers"
    if controllers.exists() and "cpu" in controllers.read_text().split():
        return 2
    if (_ROOT / "cpu/cpu.shares").exists():
        return 1
    raise DevitError("no control groups for CPUs under /sys/fs/cgroup")
