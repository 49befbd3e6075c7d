"""What `devit capacity` calculates."""

import pytest
from click.testing import CliRunner

from devit_iot.cli.devit import main
from devit_iot.errors import ConfigError
from devit_iot.planning.capacity import LINK_SHARE, Load, capacity

LOAD = Load(1000, 1.0, 40_000, 4, 1, 1000.0, 100.0, 2.0)


def changed(**values: float) -> Load:
    fields = {name: getattr(LOAD, name) for name in LOAD.__struct_fields__}
    return Load(**(fields | values))


def test_a_thousand_cameras_are_more_than_a_gigabit() -> None:
    """1,000 images a second of 40 kB to four parts are 1.28 Gbit/s without any overhead."""
    needs = capacity(LOAD)
    assert 1280 < needs.out_mbit < 1.12 * 1280
    assert needs.cells == 2
    assert needs.in_mbit < needs.out_mbit / 3


def test_what_a_cell_carries_needs_one_cell() -> None:
    carried = capacity(LOAD).cameras_per_cell
    assert capacity(changed(cameras=carried)).cells == 1
    assert capacity(changed(cameras=carried + 2)).cells == 2
    assert capacity(changed(cameras=carried)).out_mbit <= LINK_SHARE * LOAD.link_mbit


def test_a_replica_costs_traffic_and_halves_the_work() -> None:
    one, two = capacity(LOAD), capacity(changed(replicas=2))
    assert two.out_mbit > 1.9 * one.out_mbit
    slow = capacity(changed(cameras=10, engine_ms=140.0))
    assert slow.replicas == 2
    assert capacity(changed(cameras=10, engine_ms=70.0)).replicas == 1


def test_shards_follow_the_work_of_a_cell() -> None:
    assert capacity(changed(cameras=300, aggregator_ms=2.0)).shards == 1
    assert capacity(changed(cameras=400, aggregator_ms=2.0)).shards == 2


@pytest.mark.parametrize("name", ["cameras", "rate", "image_bytes", "parts", "link_mbit"])
def test_nothing_and_less_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        changed(**{name: 0})


def test_the_command_says_what_is_calculated_and_warns_of_replicas() -> None:
    done = CliRunner().invoke(main, ["capacity", "--cameras", "20", "--engine-ms", "100"])
    assert done.exit_code == 0
    assert "calculated: 1 cell; in each:" in done.output
    assert "  3 nodes for each part" in done.output
    assert "ask again with --replicas 3" in done.output
    done = CliRunner().invoke(main, ["capacity", "--cameras", "0"])
    assert done.output == "Error: cameras must be positive\n"
