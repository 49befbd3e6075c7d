"""How much memory this process takes, or took at most."""

from pathlib import Path

from devit_iot.demo.processes import FleetProcesses


def resident() -> int:
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def resident_kib(processes: FleetProcesses) -> dict[str, int]:
    found = {}
    for name, process in processes._running.items():
        status = Path(f"/proc/{process.pid}/status").read_text()
        found[name] = int(status.partition("VmRSS:")[2].split()[0])
    return found
