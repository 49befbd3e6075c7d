"""A cascade on a real broker: nobody hears that a label is out, or who said it dies, or lies."""

import queue
import subprocess
from pathlib import Path

import pytest

from devit_iot.config.config import BrokerConfig
from devit_iot.demo.processes import FleetProcesses, free_port
from devit_iot.fleet.access import access_list, members, mosquitto_acl
from devit_iot.protocol.label import Label
from tests.chaos.clients import TOPICS, Outside
from tests.chaos.fleet import CASCADE, PARTS, ChaosFleet
from tests.e2e.watching import IMAGES
from tests.support.fleets import wait_until
from tests.support.mosquitto import PASSWD, Client, needs_mosquitto, running_mosquitto

SLOW = CASCADE.replace("hold_s = 0.2", "hold_s = 5.0")
COUNT = 10
PASSWORD = "secret"  # noqa: S105 - of a broker that ends with its test


def publish(outside: Outside, count: int = COUNT) -> None:
    for number in range(count):
        outside.publish_every("door", IMAGES[number % len(IMAGES)].payload)


def spared(outside: Outside) -> int:
    return sum(status.spared for status in list(outside.nodes.values()))


def test_later_nodes_compute_nothing_when_the_label_is_out(
    processes: FleetProcesses, tmp_path: Path
) -> None:
    fleet = ChaosFleet(processes, tmp_path, CASCADE.replace("hold_s = 0.2", "hold_s = 1.0"))
    fleet.start_all()
    outside = Outside(processes.url)
    with outside.connected():
        wait_until(lambda: len(outside.online) == PARTS + 1, 60)
        publish(outside)
        wait_until(lambda: not outside.missing, 60)
        wait_until(lambda: spared(outside) > 0, 60)
        wait_until(lambda: not any(s.unfinished for s in list(outside.nodes.values())), 60)
    assert any(labels[0].early is True for labels in outside.labels.values())


def test_a_node_that_never_hears_it_computes_anyway(
    processes: FleetProcesses, tmp_path: Path
) -> None:
    """An access list of an earlier release lets nobody say it or hear it."""
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite #\ntopic deny {TOPICS.all_enough}\n")
    fleet = ChaosFleet(processes, tmp_path, CASCADE, f"acl_file {acl}")
    fleet.start_all()
    outside = Outside(processes.url)
    with outside.connected():
        wait_until(lambda: len(outside.online) == PARTS + 1, 60)
        publish(outside)
        wait_until(lambda: not outside.missing, 60)
        wait_until(
            lambda: outside.aggregator is not None and outside.aggregator.late == 2 * COUNT, 60
        )
        wait_until(lambda: not any(s.unfinished for s in list(outside.nodes.values())), 60)
    assert spared(outside) == 0


def test_an_aggregator_that_dies_after_it_said_so_has_published_the_label(
    processes: FleetProcesses, tmp_path: Path
) -> None:
    fleet = ChaosFleet(processes, tmp_path, SLOW)
    fleet.start_all()
    outside = Outside(processes.url)
    broker = BrokerConfig(url=processes.url)
    with outside.connected(), Client(broker, TOPICS.all_enough, TOPICS.labels) as listener:
        wait_until(lambda: len(outside.online) == PARTS + 1, 60)
        publish(outside, 1)
        heard: list[tuple[str, bytes]] = []
        while not heard or "/enough/" not in heard[-1][0]:
            message = listener.inbox.get(timeout=60)
            heard.append((message.topic, message.payload))
        fleet.kill("aggregator")
        request_id = heard[-1][1].hex()
        known = [Label.decode(payload).request_id for topic, payload in heard[:-1]]
        assert request_id in known
        fleet.start("aggregator")
        wait_until(lambda: spared(outside) == 2, 60)
        wait_until(lambda: not any(s.unfinished for s in list(outside.nodes.values())), 60)
    assert not outside.missing


@needs_mosquitto
@pytest.mark.parametrize("liar", ["pi-2", "camera", "viewer"])
def test_a_liar_is_not_heard(tmp_path: Path, liar: str) -> None:
    port, acl, passwords = free_port(), tmp_path / "acl", tmp_path / "passwords"
    acl.write_text(
        mosquitto_acl(access_list("test", members(["pi-1", "pi-2"]), ["cameras/{camera}/image"]))
    )
    passwords.touch(mode=0o600)
    for user in ("pi-1", "aggregator", liar):
        subprocess.run([str(PASSWD), "-b", str(passwords), user, PASSWORD], check=True)
    settings = tmp_path / "mosquitto.conf"
    settings.write_text(
        f"listener {port} 127.0.0.1\nacl_file {acl}\npassword_file {passwords}\n"
        "allow_anonymous false\n"
    )

    def client(user: str, *filters: str) -> Client:
        url = f"mqtt://127.0.0.1:{port}"
        config = BrokerConfig(url=url, username=user)
        return Client(config, *filters, client_id=user, password=PASSWORD)

    with (
        running_mosquitto(settings, [port], tmp_path / "log"),
        client("pi-1", TOPICS.all_enough) as node,
        client("aggregator") as aggregator,
        client(liar) as lying,
    ):
        lying.publish(TOPICS.enough(0), b"l" * 16)
        wait_until(lambda: lying.transport.refused == 1)
        aggregator.publish(TOPICS.enough(0), b"t" * 16)
        assert node.get() == (TOPICS.enough(0), b"t" * 16)
        with pytest.raises(queue.Empty):
            node.inbox.get(timeout=0.2)
