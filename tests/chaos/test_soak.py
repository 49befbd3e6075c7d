"""Half of what the fleet can do, for as long as you like: nothing grows, and every label comes.

45 s with the other tests; ``make soak`` runs half an hour and draws docs/soak.png.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from devit_iot.demo.processes import FleetProcesses
from tests.chaos.conftest import Report
from tests.chaos.fleet import PARTS, ROOT, ChaosFleet
from tests.chaos.traffic import CONFIG, KINDS, Age, Traffic
from tests.chaos.usage import Sample, Usage, trend, usage
from tests.support.fleets import wait_until

pytest.importorskip("matplotlib", reason="no matplotlib: pip install 'devit-iot[train]'")

MINUTES = float(os.environ.get("DEVIT_SOAK_MINUTES", "0.75"))
SAMPLES = max(30, round(12 * MINUTES))
WARM = 400


def ages_line(name: str, ages: Sequence[Age], sent: int) -> str:
    took = 1e3 * np.array([age.seconds for age in ages])
    p50, p99 = np.percentile(took, [50, 99])
    return f"| {name} | {sent} | {len(ages)} | {p50:.1f} | {p99:.1f} | {took.max():.0f} |"


def test_nothing_grows(processes: FleetProcesses, tmp_path: Path, report: Report) -> None:
    from tests.chaos.soak_picture import draw, percentiles

    fleet = ChaosFleet(processes, tmp_path, CONFIG)
    fleet.start_all()
    traffic = Traffic(processes.url)
    seconds = 60 * MINUTES
    samples: list[Sample] = []

    def sample(now: float) -> None:
        if now >= len(samples) * seconds / SAMPLES:
            running = processes._running.items()
            samples.append(Sample(now, {name: usage(p.pid) for name, p in running}))

    with traffic.connected():
        wait_until(lambda: len(traffic.online) == PARTS + 1, 60)
        rate = traffic.capacity(WARM) / 2
        begin = time.monotonic()
        traffic.run(seconds, rate, sample)
        wait_until(lambda: not traffic.unanswered, 60)
    labels = f"{traffic.degraded} degraded labels, {traffic.again} again"
    lines = [
        f"{seconds:.0f} s at {sum(traffic.sent.values()) / seconds:.1f} images a second; {labels}",
        "| camera | images | labels | age p50, ms | p99, ms | longest, ms |",
        *(ages_line(kind, traffic.ages[kind], traffic.sent[kind]) for kind in KINDS),
        "| process | MiB | at most | MiB per hour | growth | descriptors | threads |",
    ]
    trends = {name: trend(samples, name) for name in fleet.names}
    lines += [
        f"| {name} | {t.resident_mib:.1f} | {t.most_mib:.1f} | {t.slope:+.2f} | "
        f"{100 * t.growth:+.2f} % | {t.descriptors} | {t.threads} |"
        for name, t in trends.items()
    ]
    report("\n".join(lines))
    picture = ROOT / "docs/soak.png" if "DEVIT_SOAK_MINUTES" in os.environ else tmp_path / "p.png"
    draw(samples, {k: percentiles(traffic.ages[k], begin, seconds) for k in KINDS}, picture)
    assert len(samples) >= SAMPLES - 1
    assert {name for name, t in trends.items() if t.leaks} == set()
    assert len(traffic.ages["every"]) == traffic.sent["every"]
    assert len(traffic.ages["latest"]) > 0.5 * traffic.sent["latest"]  # dropped if others compute


def samples_of(usages: Sequence[Usage]) -> list[Sample]:
    return [Sample(10.0 * number, {"p": one}) for number, one in enumerate(usages)]


def test_a_leak_is_found_and_a_peak_is_none() -> None:
    flat = [Usage(50.0, 9, 3)] * 30
    warm = [Usage(20.0 + 3 * number, 5, 3) for number in range(10)] + flat[10:]
    peak = [*flat[:25], Usage(80.0, 12, 4), *flat[26:]]
    for usages in (flat, warm, peak):
        assert not trend(samples_of(usages), "p").leaks
    leaks = [Usage(50.0 + 0.2 * number, 9, 3) for number in range(30)]
    found = trend(samples_of(leaks), "p")
    assert found.leaks
    assert found.slope == pytest.approx(0.2 * 360)
    for more in (Usage(50.0, 10, 3), Usage(50.0, 9, 4)):
        assert trend(samples_of([*flat[:18], *[more] * 12]), "p").leaks
