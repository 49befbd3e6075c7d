"""What Prometheus and a supervisor get of running services, over HTTP."""

import http.client
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from devit_iot.bundle.reading import Bundle
from devit_iot.errors import ConfigError
from devit_iot.node.sensors import Sensors
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.service import metrics
from devit_iot.service import status as status_module
from devit_iot.service.exporter import exporting
from devit_iot.transport.memory import MemoryBroker, MemoryTransport
from tests.golden.make import AGGREGATOR_STATUS_2, NODE_STATUS_6, UPDATE_STATUS
from tests.support.fleets import image_file, wait_until
from tests.support.running import labels, make_aggregator, make_node, running

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "docs" / "grafana"
ANY = "127.0.0.1:0"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed (Debian's prometheus package has it)"
)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "INTERVAL_S", 0.0)


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def promtool(*arguments: str | Path, text: str = "") -> str:
    done = subprocess.run(
        [str(PROMTOOL), *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Fleet:
    """Three nodes and an aggregator that have labelled an image and refused another."""

    def __init__(self, bundle: Bundle, sysfs: Path) -> None:
        self.broker = MemoryBroker()
        zone = sysfs / "class/thermal/thermal_zone0"
        zone.mkdir(parents=True)
        (zone / "type").write_text("cpu-thermal\n")
        (zone / "temp").write_text("61500\n")
        sensors = Sensors(sysfs)
        self.nodes = [make_node(self.broker, bundle, n, sensors=sensors) for n in range(3)]
        self.aggregator = make_aggregator(self.broker, bundle)

    def work(self) -> None:
        wait_until(lambda: len(self.broker.retained) == 4)
        self.broker.publish("cameras/door/image", image_file(1))
        self.broker.publish("cameras/yard/image", b"GIF89a\x01 no image that we decode")
        wait_until(lambda: labels(self.broker))


@pytest.fixture
def fleet(bundle: Bundle, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(bundle, tmp_path / "sys")
    with running(*made.nodes, made.aggregator):
        made.work()
        yield made


def test_a_node_counts_what_its_status_counts(fleet: Fleet) -> None:
    with exporting(ANY, fleet.nodes[0], 60.0) as port:
        wait_until(
            lambda: samples(get(port, "/metrics")[1]).get(
                ("devit_node_inputs_refused_total", (("reason", "unknown_codec"),))
            )
        )
        found = samples(get(port, "/metrics")[1])
    assert found["devit_node_images_received_total", ()] == 2
    assert found["devit_node_features_published_total", ()] == 1
    assert found["devit_node_temperature_celsius", ()] == 61.5
    assert found["devit_healthy", ()] == 1
    assert ("devit_node_throttled", ()) not in found  # it cannot say
    assert found["devit_node_images_dropped_total", (("reason", "overload"),)] == 0
    for stage in ("wait", "decode", "compute"):
        assert found["devit_node_stage_seconds_count", (("stage", stage),)] == 1
        assert 0 <= found["devit_node_stage_seconds_sum", (("stage", stage),)] < 60
    assert found["devit_node_stage_seconds_bucket", (("le", "+Inf"), ("stage", "wait"))] == 1
    (info,) = (dict(key[1]) for key in found if key[0] == "devit_node_info")
    assert (info["node"], info["part"]) == ("node-0", "0")
    assert found["process_resident_memory_bytes", ()] > 0


def test_an_aggregator_counts_what_its_status_counts(fleet: Fleet) -> None:
    with exporting(ANY, fleet.aggregator, 60.0) as port:
        wait_until(
            lambda: samples(get(port, "/metrics")[1]).get(
                ("devit_aggregator_labels_published_total", ())
            )
        )
        found = samples(get(port, "/metrics")[1])
    assert found["devit_aggregator_features_received_total", ()] == 3
    assert found["devit_aggregator_labels_degraded_total", ()] == 0
    for part in "012":
        assert found["devit_aggregator_part_online", (("part", part),)] == 1
    for stage in ("wait", "decode", "compute", "collect", "fuse"):
        assert found["devit_aggregator_stage_seconds_count", (("stage", stage),)] == 1


@needs_promtool
def test_promtool_has_nothing_to_say(fleet: Fleet) -> None:
    for service in (fleet.nodes[0], fleet.aggregator):
        wait_until(lambda: service.reporter.latest is not None)  # noqa: B023
        with exporting(ANY, service, 60.0) as port:
            text = get(port, "/metrics")[1]
        assert promtool("check", "metrics", text=text) == ""


def test_every_metric_that_is_exported_is_a_row(fleet: Fleet) -> None:
    rows = {row.name for row in metrics.rows()}
    exported = set()
    for service in (fleet.nodes[0], fleet.aggregator):
        with exporting(ANY, service, 60.0) as port:
            text = get(port, "/metrics")[1]
        exported |= set(re.findall(r"^# HELP (devit_\w+)", text, re.MULTILINE))
    elsewhere = {row.name for row in metrics.UPDATE} | {row.name for row in metrics.CELLS}
    assert exported == rows - elsewhere


def test_a_member_of_a_fleet_with_a_hub_tells_how_far_it_is(fleet: Fleet) -> None:
    class Member:
        """A node that follows a hub."""

        reporter = fleet.nodes[0].reporter
        durations = fleet.nodes[0].durations
        update = UPDATE_STATUS

    with exporting(ANY, Member(), 60.0) as port:
        text = get(port, "/metrics")[1]
    exported = set(re.findall(r"^# HELP (devit_\w+)", text, re.MULTILINE))
    assert {row.name for row in metrics.UPDATE} <= exported
    assert 'state="' + UPDATE_STATUS.state in text
    assert f"devit_update_serving {float(UPDATE_STATUS.serving)}" in text


def test_health(bundle: Bundle) -> None:
    broker = MemoryBroker()
    transport = MemoryTransport(broker)
    node = make_node(broker, bundle, 0, transport=transport)
    with exporting(ANY, node, 60.0) as port:
        assert get(port, "/healthz") == (503, "no connection to the broker\n")
        with running(node):
            wait_until(lambda: get(port, "/healthz") == (200, "healthy\n"))
            transport.connected = False
            assert get(port, "/healthz") == (503, "no connection to the broker\n")
            assert samples(get(port, "/metrics")[1])["devit_healthy", ()] == 0
            transport.connected = True
            assert get(port, "/healthz")[0] == 200
        assert get(port, "/")[0] == 404


def test_a_node_that_hangs_is_not_healthy(bundle: Bundle) -> None:
    broker = MemoryBroker()
    node = make_node(broker, bundle, 0)
    with exporting(ANY, node, -1.0) as port, running(node):
        assert "no progress for" in get(port, "/healthz")[1]


def test_a_broker_that_delivers_nothing_is_not_healthy(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_module, "ECHO_S", 0.1)
    monkeypatch.setattr(MemoryTransport, "deliver", lambda *_: None)
    node = make_node(MemoryBroker(), bundle, 0)
    with exporting(ANY, node, 60.0) as port, running(node):
        wait_until(lambda: "delivers nothing" in get(port, "/healthz")[1])


def test_a_port_in_use_is_a_clear_error(bundle: Bundle) -> None:
    node = make_node(MemoryBroker(), bundle, 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(ConfigError, match="in use; choose another"),
            exporting(address, node, 1),
        ):
            pass


def test_without_the_option_nothing_is_served_or_imported() -> None:
    program = (
        "import sys, devit_iot.cli.node, devit_iot.cli.aggregate\n"
        "from devit_iot.service.exporter import exporting\n"
        "with exporting('', None, 1.0) as port: assert port == 0\n"
        "assert 'prometheus_client' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_missing_extra_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    node = make_node(MemoryBroker(), bundle, 0)
    with pytest.raises(ConfigError, match=r"devit-iot\[metrics\]"), exporting(ANY, node, 1):
        pass


def test_clients_that_say_nothing_take_no_room_for_ever(bundle: Bundle) -> None:
    node = make_node(MemoryBroker(), bundle, 0)
    with exporting(ANY, node, 60.0, client_s=0.2) as port:
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        try:
            wait_until(lambda: reached(port))
            assert threading.active_count() < 40
        finally:
            for connection in idle:
                connection.close()


def reached(port: int) -> bool:
    try:
        return get(port, "/healthz")[0] == 503
    except (OSError, http.client.HTTPException):
        return False


@needs_promtool
def test_promtool_takes_the_scrape_configuration() -> None:
    promtool("check", "config", GRAFANA / "prometheus.yml")


def queries() -> list[str]:
    """The dashboard's queries, in PromQL."""
    dashboard = json.loads((GRAFANA / "devit.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    return [target["expr"].replace("$__rate_interval", "1m") for target in targets]


@needs_promtool
def test_promtool_takes_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(queries())]
    file = tmp_path / "rules.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    asked = {name for query in queries() for name in re.findall(r"\b(?:devit|process)_\w+", query)}
    assert len(asked) > 10
    histograms = [metrics.NODE_DURATIONS.name, metrics.AGGREGATOR_DURATIONS.name]
    known = {row.name for row in metrics.rows()} - set(histograms)
    known |= {f"{name}_{end}" for name in histograms for end in ("bucket", "count", "sum")}
    assert asked <= known | {"process_resident_memory_bytes", "process_cpu_seconds_total"}


def test_the_documented_table_is_that_of_the_registry() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "metric_table.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, "")


ELSEWHERE = {
    "state": "/healthz",
    "problem": "/healthz",
    "uptime_s": "process_start_time_seconds",
    "decode_ms": "devit_node_stage_seconds",
    "compute_ms": "devit_node_stage_seconds",
    "board": "what does not change, for devit plan",
    "shares": "devit_node_replicas, of the others",
    "pinned": "what does not change, for the hub",
    "dropped of NodeStatus": "its drops by reason",
    "parts of NodeStatus": "devit_aggregator_part_online",
}


@pytest.mark.parametrize(
    "status", [NODE_STATUS_6, AGGREGATOR_STATUS_2], ids=lambda s: type(s).__name__
)
def test_every_fact_of_a_status_is_in_a_metric(status: NodeStatus | AggregatorStatus) -> None:
    for field in msgspec.structs.fields(type(status)):
        if {field.name, f"{field.name} of {type(status).__name__}"} & set(ELSEWHERE):
            continue
        other = msgspec.structs.replace(
            status, **{field.name: another(getattr(status, field.name))}
        )
        assert metrics.of(other) != metrics.of(status), field.name


def another(value: object) -> object:
    """A value of the same kind that is not the same."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "0"
        case tuple():
            return (*value, 3)
        case {"entr\u00e9e": dict()}:
            return {"door": {"rate": 9}}
        case dict():
            return value | {"json": 7}
    raise AssertionError(value)
