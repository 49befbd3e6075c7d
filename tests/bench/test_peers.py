"""Every installed peer computes a ViT, a DeiT and a CCT from the files that we write for it."""

from pathlib import Path

import numpy as np
import pytest

from devit_iot.bench.graph import peer_pixels
from devit_iot.bench.peers import ENGINES, OURS, Source
from devit_iot.bench.process import Worker
from devit_iot.bench.runners import Job
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.storage import Dtype
from devit_iot.engine.base import GOLDEN_TOLERANCE
from devit_iot.errors import EngineError
from tests.support.fleets import make_bundle

KINDS = ("ViT", "DeiT", "CCT")
FEWER_BITS = [
    (name, dtype) for name, peer in ENGINES.items() for dtype in peer.dtypes if dtype != "float32"
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "fleet", parts=len(KINDS))


def job(bundle: Bundle, part: int, engine: str, folder: Path, dtype: Dtype) -> Job:
    peer, tensors = ENGINES[engine], bundle.read_part(part).tensors
    if reason := peer.lacks(dtype):
        pytest.skip(f"{engine}: {reason}")
    image = tensors["golden.image"]
    np.save(
        folder / "pixels.npy", peer_pixels(tensors, image, peer.layout) if peer.layout else image
    )
    source = Source(bundle.part(part).spec, tensors)
    model = peer.write(source, folder, dtype)
    return Job(engine, str(model), str(folder / "pixels.npy"), 1, dtype)


def error(bundle: Bundle, part: int, job: Job) -> float:
    wanted = bundle.read_part(part).tensors["golden.feature"]
    with Worker(job) as worker:
        return float(np.linalg.norm(worker.feature - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("part", range(len(KINDS)), ids=KINDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_float32_is_exact(bundle: Bundle, engine: str, part: int, tmp_path: Path) -> None:
    assert error(bundle, part, job(bundle, part, engine, tmp_path, "float32")) < 1e-5


@pytest.mark.parametrize(("engine", "dtype"), FEWER_BITS)
def test_fewer_bits_cost_little(bundle: Bundle, engine: str, dtype: Dtype, tmp_path: Path) -> None:
    found = error(bundle, 1, job(bundle, 1, engine, tmp_path, dtype))
    assert found < GOLDEN_TOLERANCE[dtype]
    assert found > 1e-4  # it was quantised


def test_a_worker_runs_weighs_and_ends(bundle: Bundle, tmp_path: Path) -> None:
    with Worker(job(bundle, 0, OURS, tmp_path, "float32")) as worker:
        assert worker.run() > 0
        assert 5 < worker.resident_mb() < 500
        assert worker.cold_start_s > 0
        assert worker.detail
        process = worker._process
    assert process.returncode == 0


def test_an_engine_that_fails_is_told_in_its_words(bundle: Bundle, tmp_path: Path) -> None:
    broken = job(bundle, 0, OURS, tmp_path, "float32")._replace(model="nowhere")
    with pytest.raises(EngineError, match=r"devit failed: .*nowhere is not a bundle"):
        Worker(broken)
