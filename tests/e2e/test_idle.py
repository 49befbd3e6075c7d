"""A node without images costs its board next to nothing."""

import time
from pathlib import Path

from devit_iot.demo.processes import BrokerKind, FleetProcesses
from tests.e2e.watching import known_images, watching

SECONDS = 3.0
MOST = 0.01  # share of one core


def cpu_seconds(pid: int) -> float:
    """What all threads of a process have run so far; the kernel counts it in nanoseconds."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def test_an_idle_node_sleeps(processes: FleetProcesses, kind: BrokerKind) -> None:
    processes.start_broker(kind)
    for part in range(4):
        processes.start_node(part, "--threads", "2")
    processes.start_aggregator()
    with watching(processes.url) as viewer:
        viewer.wait_online()
        viewer.ask("one", known_images()[0].payload)  # the workers have worked
        time.sleep(0.5)
        pids = {name: process.pid for name, process in processes._running.items()}
        names = [name for name in pids if name != "broker"]
        before = {name: cpu_seconds(pids[name]) for name in names}
        time.sleep(SECONDS)
        used = {name: cpu_seconds(pids[name]) - before[name] for name in names}
    assert len(used) == 5
    assert max(used.values()) <= MOST * SECONDS, used
