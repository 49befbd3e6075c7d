"""The whole forward pass against the float64 one, on uneven shapes, and who may call it how."""

import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devit_iot import _core
from devit_iot.spec import BlockSpec, SubVitSpec, tensors
from tests.kernels.reference import F32, PYTHON, UNIT, features, random_tensors

BLOCKS = st.lists(
    st.builds(BlockSpec, heads=st.integers(1, 4), mlp_dim=st.integers(1, 50)),
    min_size=1,
    max_size=3,
)
UNEVEN = SubVitSpec(35, 35, 5, 37, 13, 2, (BlockSpec(3, 41), BlockSpec(1, 5), BlockSpec(2, 70)))


def build(spec: SubVitSpec, weights: Mapping[str, F32], **kwargs: Any) -> _core.SubVit:  # noqa: ANN401
    return _core.SubVit(
        image_size=spec.image_size,
        patch_size=spec.patch_size,
        embed_dim=spec.embed_dim,
        head_dim=spec.head_dim,
        prefix_tokens=spec.prefix_tokens,
        blocks=[(block.heads, block.mlp_dim) for block in spec.blocks],
        norm_eps=spec.norm_eps,
        tensors=weights,
        **kwargs,
    )


def random_image(spec: SubVitSpec, seed: int) -> np.ndarray[tuple[int, int, int], Any]:
    shape = (spec.image_size, spec.image_size, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def run(model: _core.SubVit, image: Any) -> F32:  # noqa: ANN401
    out = np.full(model.feature_dim, np.nan, np.float32)
    model.features(image, out)
    return out


def tolerance(spec: SubVitSpec) -> float:
    """Roundings of one layer add up like sqrt(depth), and each block adds a few layers."""
    widths = [max(b.heads * spec.head_dim, b.mlp_dim, spec.embed_dim) for b in spec.blocks]
    return 16 * UNIT * (1 + len(spec.blocks)) * math.sqrt(max(*widths, spec.patch_dim))


@given(
    patch_size=st.integers(1, 6),
    grid=st.integers(1, 6),
    embed_dim=st.integers(8, 50),  # fewer could have almost no variance, which norms blow up
    head_dim=st.integers(1, 20),
    prefix_tokens=st.integers(1, 2),
    blocks=BLOCKS,
    threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_matches_float64(
    isa: str,
    patch_size: int,
    grid: int,
    embed_dim: int,
    head_dim: int,
    prefix_tokens: int,
    blocks: list[BlockSpec],
    threads: int,
    seed: int,
) -> None:
    side = patch_size * grid
    spec = SubVitSpec(side, side, patch_size, embed_dim, head_dim, prefix_tokens, tuple(blocks))
    weights, image = random_tensors(spec, seed), random_image(spec, seed)
    feature = run(build(spec, weights, threads=threads, isa=isa), image)
    np.testing.assert_allclose(
        feature, features(spec, weights, image), rtol=0, atol=tolerance(spec)
    )


def test_every_image_starts_afresh(isa: str) -> None:
    model = build(UNEVEN, random_tensors(UNEVEN, 0), threads=2, isa=isa)
    images = [random_image(UNEVEN, seed) for seed in (1, 2, 1)]
    first, second, again = (run(model, image) for image in images)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


def test_threads_do_not_change_a_bit(isa: str) -> None:
    weights, image = random_tensors(UNEVEN, 3), random_image(UNEVEN, 4)
    alone, *crews = (run(build(UNEVEN, weights, threads=n, isa=isa), image) for n in (1, 2, 3, 7))
    for crew in crews:
        np.testing.assert_array_equal(crew, alone)


def test_calls_from_two_threads_take_turns() -> None:
    model = build(UNEVEN, random_tensors(UNEVEN, 0), threads=2)
    images = [random_image(UNEVEN, seed) for seed in range(2)]
    wanted = [run(model, image) for image in images]
    wrong: list[F32] = []

    def caller(index: int) -> None:
        answers = [run(model, images[index]) for _ in range(50)]
        wrong.extend([f for f in answers if not np.array_equal(f, wanted[index])])

    callers = [threading.Thread(target=caller, args=(index,)) for index in range(2)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert not wrong


class Recorder(Mapping[str, F32]):
    def __init__(self, weights: Mapping[str, F32]) -> None:
        self.weights = weights
        self.names: list[str] = []

    def __getitem__(self, name: str) -> F32:
        self.names.append(name)
        return self.weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


def test_pulls_exactly_the_tensors_of_the_spec_in_order() -> None:
    recorder = Recorder(random_tensors(UNEVEN, 0))
    build(UNEVEN, recorder)
    assert recorder.names == [tensor.name for tensor in tensors(UNEVEN)]


def test_says_what_it_is(isa: str) -> None:
    weights = random_tensors(UNEVEN, 0)
    model = build(UNEVEN, weights, threads=2, isa=isa)
    assert (model.isa, model.threads, model.feature_dim) == (isa, 2, UNEVEN.feature_dim)
    assert model.memory_bytes >= sum(tensor.nbytes for tensor in weights.values())
    assert build(UNEVEN, weights).threads == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("name", [tensor.name for tensor in tensors(UNEVEN)][:4])
def test_a_wrong_tensor_is_named(name: str) -> None:
    weights = random_tensors(UNEVEN, 0)
    good = weights[name]
    weights[name] = good[:-1].copy()
    with pytest.raises(ValueError, match=rf"tensor '{name}' must have shape \({len(good)},"):
        build(UNEVEN, weights)
    weights[name] = good.astype(np.float64)
    with pytest.raises(TypeError, match=f"tensor '{name}' must be a C-contiguous float32 array"):
        build(UNEVEN, weights)
    weights[name] = np.repeat(good, 2, axis=-1)[..., ::2]
    with pytest.raises(TypeError, match=f"tensor '{name}' must be a C-contiguous float32 array"):
        build(UNEVEN, weights)
    del weights[name]
    with pytest.raises(KeyError, match=name):
        build(UNEVEN, weights)


def test_wrong_images_and_outputs_are_refused() -> None:
    model = build(UNEVEN, random_tensors(UNEVEN, 0))
    image = random_image(UNEVEN, 0)
    out = np.empty(model.feature_dim, np.float32)
    with pytest.raises(ValueError, match=r"image must have shape \(35, 35, 3\), got \(34, 35, 3\)"):
        model.features(image[:-1], out)
    with pytest.raises(ValueError, match="out must have shape"):
        model.features(image, out[:-1])
    with pytest.raises(TypeError):
        model.features(image[:, ::-1], out)
    with pytest.raises(TypeError):
        model.features(image.astype(np.float32), out)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("patch_size", 4, "patch_size 4 does not divide image_size 35"),
        ("prefix_tokens", 3, "prefix_tokens must be 1 or 2, got 3"),
        ("head_dim", 257, "head_dim must be at most 256, got 257"),
        ("head_dim", 0, "head_dim must be in"),
        ("blocks", [], "at least one block"),
        ("blocks", [(0, 5)], "heads must be in"),
        ("norm_eps", 0.0, "norm_eps must be positive"),
        ("norm_eps", math.nan, "norm_eps must be positive"),
        ("threads", 5000, "threads must be at most 1024"),
        ("isa", "mmx", "no kernels for instruction set 'mmx' here; available: "),
    ],
)
def test_an_impossible_shape_is_an_error(field: str, value: object, message: str) -> None:
    arguments: dict[str, Any] = {
        "image_size": 35,
        "patch_size": 5,
        "embed_dim": 37,
        "head_dim": 13,
        "prefix_tokens": 2,
        "blocks": [(block.heads, block.mlp_dim) for block in UNEVEN.blocks],
        "norm_eps": 1e-6,
        "tensors": random_tensors(UNEVEN, 0),
    }
    with pytest.raises(ValueError, match=message):
        _core.SubVit(**(arguments | {field: value}))


AFTER_FORK = """
import os, sys
from tests.kernels.test_sub_vit import UNEVEN, build, random_image, random_tensors, run
model = build(UNEVEN, random_tensors(UNEVEN, 0), threads=2)
child = os.fork()
if child == 0:
    try:
        run(model, random_image(UNEVEN, 0))
    except RuntimeError as error:
        sys.exit(17 if "fork" in str(error) else 1)
    sys.exit(2)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_use_after_a_fork_is_an_error_not_a_hang() -> None:
    done = subprocess.run(
        [PYTHON, "-W", "ignore::DeprecationWarning", "-c", AFTER_FORK],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 17
