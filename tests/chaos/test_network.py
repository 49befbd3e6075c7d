"""Links that lose, delay or swallow packets: nothing of `every` is lost, all recovers by itself.

Broker, nodes, aggregator and camera are hosts of their own: see :mod:`tests.chaos.network`.
"""

import shutil
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import pytest

from tests.chaos.conftest import LONG, SEED, Report
from tests.chaos.fleet import EVERY
from tests.chaos.network import Link, Network, NoNamespacesError
from tests.chaos.world import FAR, HOSTS, LatestCamera, World
from tests.support.fleets import wait_until

COUNT = 200 if LONG else 15
KEEPALIVE_S = 10 if LONG else 4
CUT_S = 30.0 if LONG else 9.0
CUT_OFF = ("node-1", "aggregator", "camera") if LONG else ("node-1", "aggregator")
DEADLINE_S = 1.0
BACKOFF_S = 30.0
SLACK_S = 5.0  # for a machine that does other work too
CONFIG = f"""\
[broker]
keepalive_s = {KEEPALIVE_S}
persist_s = 2.0

[aggregator]
deadline_s = {DEADLINE_S}

{EVERY}"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not on PATH: install it to test against it")
    with Network(SEED) as network:
        try:
            world = World(network, tmp_path_factory.mktemp("network"), CONFIG)
        except NoNamespacesError as error:
            pytest.skip(f"no hosts to be had: {error}")
        with world.running():
            yield world
        for name in HOSTS:
            print(f"--- {name}\n{world.log(name)}")  # noqa: T201 - shown if the test fails
            assert "Traceback" not in world.log(name)


@pytest.mark.parametrize("link", [Link(loss=0.05), Link(delay_s=0.2)], ids=["loss", "delay"])
def test_a_bad_link_loses_nothing(world: World, link: Link, report: Report) -> None:
    before, again = world.published, world.outside.duplicates
    packets, lost = world.network.packets, world.network.lost
    begin = time.monotonic()
    with world.links(FAR, link), world.every_camera(COUNT) as camera:
        assert camera.wait(300) == 0
        wait_until(lambda: not world.unanswered, 60)
    sent = world.published - before
    labels = [world.outside.labels[request_id][0] for request_id in sent]
    report(
        f"{len(sent)} images labelled in {time.monotonic() - begin:.0f} s, "
        f"{sum(label.degraded for label in labels)} without all parts, "
        f"{world.outside.duplicates - again} labels again, {world.network.lost - lost} of "
        f"{world.network.packets - packets} packets lost"
    )
    assert len(sent) == COUNT
    assert bool(world.network.lost - lost) == bool(link.loss)


class Cut(NamedTuple):
    """What a partition of one host did; monotonic seconds, and seconds since the link was back.

    Attributes:
        noticed_s: after the cut, until the host said that the broker is gone.
        whole_s: until a label rested on all parts.
    """

    begin: float
    end: float
    noticed_s: float
    whole_s: float


def cut(world: World, latest: LatestCamera, name: str) -> Cut:
    """Swallow a host's packets for a while, and wait until everything is as before."""
    gone = world.log(name).count("is gone")
    begin = time.monotonic()
    with world.links([name], Link(cut=True)):
        wait_until(lambda: world.log(name).count("is gone") > gone, 60)
        noticed_s = time.monotonic() - begin
        time.sleep(max(0.0, begin + CUT_S - time.monotonic()))
        end = time.monotonic()
    connected = world.log(name).count("connected to")
    wait_until(lambda: world.log(name).count("connected to") > connected, 60)
    wait_until(lambda: latest.whole(end), 60)
    return Cut(begin, end, noticed_s, time.monotonic() - end)


def test_a_partition_heals(world: World, report: Report) -> None:
    outside = world.outside
    before, again = world.published, outside.duplicates
    with world.every_camera(10_000) as every, LatestCamera(outside) as latest:
        wait_until(lambda: world.published > before and latest.whole(0.0), 60)
        cuts = {name: cut(world, latest, name) for name in CUT_OFF}
        every.terminate()
        assert every.wait(60) == 0
        wait_until(lambda: not world.unanswered, 60)
    for name, one in cuts.items():
        report(
            f"{name} cut off for {one.end - one.begin:.0f} s: noticed after {one.noticed_s:.1f} s "
            f"(keepalive {KEEPALIVE_S} s), whole {one.whole_s:.1f} s after its return"
        )
        assert one.noticed_s < 1.5 * KEEPALIVE_S + SLACK_S
        assert one.whole_s < BACKOFF_S + SLACK_S
    report(f"{len(world.published - before)} images, {outside.duplicates - again} labels again")

    one = cuts["node-1"]  # meanwhile the others go on
    found = latest.answered(one.begin + 1, one.end)
    seen = sorted(outside.seen[request_id] for request_id in found)
    gap = max(later - earlier for earlier, later in pairwise([one.begin, *seen, one.end]))
    age = max(outside.seen[request_id] - latest.sent[request_id] for request_id in found)
    report(f"without node-1 {len(found)} labels, at most {gap:.1f} s apart, {age:.1f} s old")
    assert all(1 not in outside.labels[request_id][0].parts_used for request_id in found)
    assert max(gap, age) < DEADLINE_S + SLACK_S
