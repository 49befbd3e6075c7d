"""What a board measures of itself, its file, and what a node announces."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devit_iot.bench.measure_board import NETWORKS, Measuring, fitted, measure_board
from devit_iot.build import build_node
from devit_iot.bundle.spec import BlockSpec, SubVitSpec, macs
from devit_iot.bundle.work import work
from devit_iot.cli.options import shipped_files
from devit_iot.config.board_profile import read_profile, write_profile
from devit_iot.config.config import Config, ImagesConfig, NodeConfig
from devit_iot.errors import ConfigError
from devit_iot.planning.prediction import compute_ms
from devit_iot.protocol.board import BoardProfile, Speed, Speeds
from devit_iot.protocol.status import NodeStatus
from tests.support.boards import board
from tests.support.fleets import make_bundle, part_spec

RATES = st.floats(0, 1e6, allow_nan=False)


@given(
    st.text(st.characters(codec="utf-8"), max_size=20).filter(str.isprintable),
    st.builds(Speed, st.floats(1, 100), RATES, RATES, RATES),
)
def test_a_profile_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, text: str, speed: Speed
) -> None:
    path = tmp_path_factory.getbasetemp() / "profile.toml"
    profile = msgspec.structs.replace(board(), note=text, speed=Speeds(int8=speed))
    write_profile(profile, path)
    assert read_profile(path) == profile


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cores = 0", "cores is 0, less than 1"),
        ("cores = -4", "cores is -4, not 0 to"),
        ("link_mbps = 0.0", "link_mbps is 0.0, less than 0.001"),
        ("link_ms = nan", "link_ms is nan"),
        ("watts = inf", "watts is inf"),
        ("decode_ms = -1.0", "decode_ms is -1.0"),
        ("memory_mib = 400", "nothing is left for a part"),
        ("wats = 3.0", "unknown key 'wats'; did you mean 'watts'?"),
        ('cores = "four"', "Expected `int`, got `str`"),
        ("cores = ", "is not valid TOML"),
        ("[speed.int9]", "unknown key 'speed.int9'; did you mean 'speed.int8'?"),
        ("[speed.int8]\nlinear_ms = -1.0\nattention_ms = 1.0\nvalues_ms = 1.0\nfixed_ms = 0.0",
         "speed.int8.linear_ms is -1.0"),
        ("[speed.int8]\nlinear_ms = 0.0\nattention_ms = 0.0\nvalues_ms = 0.0\nfixed_ms = 0.0",
         "speed.int8 says that an inference takes no time"),
        ("[speed.int8]\nlinear_ms = 1.0", "missing required field"),
    ],
)  # fmt: skip
def test_an_impossible_profile_is_refused_in_a_line(tmp_path: Path, line: str, words: str) -> None:
    table = {"name": '"pi-0"', "memory_mib": "900", "overhead_mib": "400"}
    table.pop(line.partition(" ")[0], None)
    path = tmp_path / "pi.toml"
    path.write_text("\n".join([*(f"{k} = {v}" for k, v in table.items()), line]))
    with pytest.raises(ConfigError) as error:
        read_profile(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)


def test_a_profile_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the profile"):
        read_profile(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("name", ["zero2w", "pi3bplus", "pi4b", "pi5", "jetson-orin-nano"])
def test_shipped_profiles_load_and_say_that_they_are_estimates(name: str) -> None:
    profile = read_profile(shipped_files("profiles")[name])
    assert profile.name == name
    assert profile.measured
    assert "not measured" in profile.note
    assert name in shipped_files()


def test_every_board_but_the_development_machine_has_an_estimate() -> None:
    assert shipped_files("profiles").keys() == shipped_files().keys() - {"x86"}


@pytest.mark.parametrize("part", range(3))
def test_work_is_that_of_macs_but_for_the_last_block(part: int) -> None:
    spec = part_spec(part)
    done = work(spec)
    last = spec.blocks[-1]
    inner = last.heads * spec.head_dim
    rows = 0 if spec.tokenizer else spec.tokens - spec.prefix_tokens
    spared = rows * (inner + 2 * last.mlp_dim) * spec.embed_dim + 2 * rows * spec.tokens * inner
    assert done.linear + done.attention == macs(spec) - spared
    assert done.values > 0


@given(st.tuples(*[st.one_of(st.just(0.0), st.floats(0.1, 50))] * 4).filter(any))
def test_rates_are_found_again(rates: tuple[float, ...]) -> None:
    speed = Speed(*rates)
    works = [work(spec) for spec in NETWORKS]
    found = fitted(works, [compute_ms(speed, done) for done in works])
    for done in works:
        assert compute_ms(found, done) == pytest.approx(compute_ms(speed, done), rel=1e-2)


def test_no_rate_is_negative_whatever_was_measured() -> None:
    rng = np.random.default_rng(0)
    works = [work(spec) for spec in NETWORKS]
    for _ in range(20):
        found = fitted(works, rng.uniform(1, 10, len(works)).tolist())
        assert min(msgspec.structs.astuple(found)) >= 0


def test_a_larger_network_is_predicted_from_small_ones() -> None:
    """Rates are per unit of work, so depth needs no measurement of its own."""
    speed = Speed(20.0, 22.0, 0.1, 0.01)
    works = [work(spec) for spec in NETWORKS]
    found = fitted(works, [1.05 * compute_ms(speed, done) for done in works])
    large = work(SubVitSpec(224, 224, 16, 384, 64, 1, (BlockSpec(6, 1536),) * 12))
    assert compute_ms(found, large) == pytest.approx(1.05 * compute_ms(speed, large), rel=0.02)


def test_this_board_is_measured() -> None:
    said: list[str] = []
    profile = measure_board("here", 2000, 500, Measuring(1, "", 0.0, said.append))
    assert profile.measured
    assert profile.fma_gflops > 0
    assert profile.decode_ms > 0
    assert all(msgspec.structs.asdict(profile.speed).values())
    assert len(said) == 4


def test_a_node_announces_its_profile(tmp_path: Path) -> None:
    """Name and memory are the node's own: it refuses parts by them."""
    path = tmp_path / "pi.toml"
    write_profile(board("another", watts=4.5), path)
    announced = announced_by(tmp_path, profile=str(path))
    assert announced.measured
    assert (announced.name, announced.watts) == ("pi-7", 4.5)
    assert announced.memory_mib == 900


def test_without_a_profile_a_node_announces_what_it_knows(tmp_path: Path) -> None:
    announced = announced_by(tmp_path)
    assert not announced.measured
    assert announced.cores >= 1
    assert announced.isas[-1] == "scalar"
    assert math.isfinite(announced.overhead_mib)


def announced_by(tmp_path: Path, profile: str = "") -> BoardProfile:
    bundle = make_bundle(tmp_path / "fleet", parts=1)
    limits = NodeConfig(
        name="pi-7", memory_mib=900, max_cameras=1, max_pixels=1_000_000, profile=profile
    )
    config = Config(
        bundle=str(bundle.path), images=(ImagesConfig("cameras/{camera}/image"),), node=limits
    )
    announced = build_node(config, {})._served.identity.board
    assert announced is not None
    announced.check("announced")
    return announced


def test_the_status_carries_it() -> None:
    status = NodeStatus("online", "00" * 8, 4, node="pi-0", part=1, board=board())
    assert NodeStatus.decode(status.encode()) == status
    assert NodeStatus.decode(msgspec.structs.replace(status, board=None).encode()).board is None
