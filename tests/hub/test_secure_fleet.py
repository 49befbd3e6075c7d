"""A fleet with certificates and a hub: bare nodes join, and a stolen certificate pushes nothing."""

from pathlib import Path

import msgspec
import pytest

from devit_iot.config.config import load_config
from devit_iot.errors import DevitError
from tests.support.fleets import make_bundle, wait_until
from tests.support.mosquitto import Client, needs_mosquitto
from tests.support.releases import release_of
from tests.support.secure_fleet import NODES, TOPICS, WAIT_S, SecureFleet


@needs_mosquitto
def test_certificates_are_all_that_a_node_needs(tmp_path: Path) -> None:
    fleet = SecureFleet(tmp_path)
    first, second = (make_bundle(tmp_path / str(seed), parts=2, seed=seed) for seed in (0, 1))
    with fleet.running():
        fleet.wait_there()
        with pytest.raises(DevitError, match=r"owner does not allow .* --folder FLEET"):
            fleet.client.push(first, "")
        number = fleet.push(first)
        wait_until(lambda: fleet.serving() == {number}, WAIT_S)

        stolen = load_config([fleet.config("pi-1")], {}).broker
        now = fleet.status()
        assert now is not None
        forged = msgspec.structs.replace(
            now.rollout, current=release_of(second, 99, {"pi-0": 0, "pi-1": 1}), next=None
        )
        # With the certificate of a node: the broker throws the node itself out, and lets it back.
        with Client(stolen, client_id="pi-1") as intruder:
            intruder.publish(TOPICS.release, forged.encode(), retain=True)
            wait_until(lambda: intruder.transport.refused or intruder.transport.problem, WAIT_S)
        wait_until(lambda: fleet.serving() == {number}, WAIT_S)
    for name in (*NODES, "aggregator"):
        assert second.manifest.fingerprint not in fleet.log(name)
