"""``devit bench --profile``: what this board can do, in a file for ``devit plan``."""

import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from devit_iot.cli.options import configuration
from devit_iot.config.board_profile import read_profile, write_profile
from devit_iot.node.memory import overhead_bytes
from devit_iot.protocol.board import BoardProfile

_STATED = ("name", "link_mbps", "link_ms", "watts")
"""What people state: a new measurement leaves it as it is."""


def write_board_profile(
    path: Path, board: str | None, threads: int, seconds: float, say: Callable[[str], None]
) -> None:
    """Measure this board into the file ``path``; what people stated there stays.

    Args:
        path: path of the profile.
        board: shipped board whose limits of memory hold; None: two thirds of the memory.
        threads: number of threads of one inference.
        seconds: about how long the measurement takes.
        say: takes a line about what is going on.

    Raises:
        ConfigError: the file cannot be read or written, or nothing is left for a part.
    """
    from devit_iot.bench.measure_board import Measuring, measure_board, usable_memory_mib

    stated = read_profile(path) if path.exists() else BoardProfile(_host_name())
    limits = configuration(None, {}, board=board).node
    memory = limits.memory_mib if board else min(limits.memory_mib, usable_memory_mib())
    overhead = -(-overhead_bytes(limits, every=False) // 2**20)
    how = Measuring(threads, limits.isa, seconds / 3, say)
    measured = measure_board(stated.name, memory, overhead, how)
    kept = {name: getattr(stated, name) for name in _STATED}
    write_profile(msgspec.structs.replace(measured, **kept), path)
    say(f"{path}: state link_mbps, link_ms and watts there")


def _host_name() -> str:
    return socket.gethostname().split(".")[0]
