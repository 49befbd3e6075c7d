"""What `devit doctor` says of the release on a node with a store."""

import msgspec
import pytest

from devit_iot.config.config import Config, NodeConfig
from devit_iot.doctor.finding import Finding
from devit_iot.doctor.release import check_release
from devit_iot.protocol.release import Release, Rollout

ONE = Release(3, "1" * 16, "a" * 64, 100, 2, members={"pi-0": 0, "pi-1": 1, "pi-2": 1})
TWO = msgspec.structs.replace(ONE, number=4, fingerprint="2" * 16)
SERVED = Rollout("http://hub", ONE)


def said(rollout: Rollout, name: str = "pi-0", part: int | None = None) -> Finding:
    config = Config(store="store", node=NodeConfig(name=name, part=part))
    return check_release(config, granted=True, payload=rollout.encode())


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (said(SERVED), "serves release 3, bundle 1111111111111111, this node has part 0 of 2"),
        (said(SERVED, "pi-1"), "part 1 of 2, which 2 nodes share"),
        (said(SERVED, "pi-9"), "this node is a spare"),
        (said(SERVED, "pi-0", 0), "pinned to part 0"),
        (said(Rollout("", ONE, TWO)), "next is release 4"),
        (said(Rollout("", ONE, TWO, activate=True)), "it is on trial"),
        (said(Rollout("", ONE, paused=True)), "the hub is paused"),
        (said(Rollout("")), "no release yet"),
    ],
)
def test_the_release_and_the_part_are_named(finding: Finding, words: str) -> None:
    assert words in finding.text


@pytest.mark.parametrize(
    ("granted", "payload", "words"),
    [
        (False, None, "denies"),
        (True, None, "nothing came"),
        (True, b"", "nothing came"),
        (True, b"{", "does not parse"),
    ],
)
def test_what_keeps_the_release_away_is_said(
    *, granted: bool, payload: bytes | None, words: str
) -> None:
    finding = check_release(Config(store="store"), granted=granted, payload=payload)
    assert words in finding.text
    assert finding.remedy
