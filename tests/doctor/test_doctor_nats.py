"""What `devit doctor` says of a NATS cluster."""

from pathlib import Path

import pytest

from devit_iot.config.config import BrokerConfig, Config, NodeConfig
from devit_iot.demo.processes import free_port
from devit_iot.doctor import broker as broker_module
from devit_iot.doctor.broker import check_broker
from tests.support.findings import found
from tests.support.nats import NatsCluster, needs_nats
from tests.support.stand_in_broker import Behaviour, StandInBroker


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "RETAINED_S", 0.2)


def config(url: str) -> Config:
    return Config(broker=BrokerConfig(url=url), node=NodeConfig(name="pi-1"))


@needs_nats
def test_what_nats_cannot_do_is_said(tmp_path: Path) -> None:
    with NatsCluster(tmp_path, 1) as nats:
        findings = found(check_broker(config(nats.url), {}, 5.0))
    assert not [f for f in findings.values() if f.level == "bad"]
    assert "MQTT 3.1.1; it keeps sessions as long as it will" in findings["login"].text
    assert findings["retained messages"].level == findings["will"].level == "ok"
    assert findings["spaces in topics"].level == "warn"
    assert findings["spaces in topics"].remedy == "name cameras without spaces"
    assert findings["shared subscriptions"].level == "warn"
    assert findings["shared subscriptions"].text == "granted, and nothing is delivered"


def test_every_broker_of_a_cluster_is_looked_for_and_one_speaks_for_all() -> None:
    gone = f"mqtt://127.0.0.1:{free_port()}"
    with StandInBroker(Behaviour(version=4)) as broker:
        findings = [*check_broker(config(f"{gone},{broker.url}"), {}, 1.0)]
    network = [f.level for f in findings if f.check == "network"]
    assert network == ["bad", "ok"]
    assert "let in" in next(f.text for f in findings if f.check == "login")
