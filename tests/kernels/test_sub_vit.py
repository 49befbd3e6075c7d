"""The whole forward pass against the float64 one, on uneven shapes, and who may call it how."""

import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devit_iot import _core
from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from tests.kernels.reference import F32, PYTHON, features, random_tensors
from tests.kernels.sub_vits import (
    BLOCKS,
    BOTH,
    CCT,
    UNEVEN,
    build,
    cct_specs,
    random_image,
    run,
    tolerance,
)


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


@given(spec=cct_specs(), threads=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_a_cct_matches_float64(isa: str, spec: SubVitSpec, threads: int, seed: int) -> None:
    weights, image = random_tensors(spec, seed), random_image(spec, seed)
    feature = run(build(spec, weights, threads=threads, isa=isa), image)
    np.testing.assert_allclose(
        feature, features(spec, weights, image), rtol=0, atol=tolerance(spec)
    )


def test_a_vit_may_have_residual_norms(isa: str) -> None:
    spec = msgspec.structs.replace(UNEVEN, residual_norm=True)
    weights, image = random_tensors(spec, 0), random_image(spec, 0)
    feature = run(build(spec, weights, isa=isa), image)
    np.testing.assert_allclose(
        feature, features(spec, weights, image), rtol=0, atol=tolerance(spec)
    )


@BOTH
def test_every_image_starts_afresh(isa: str, spec: SubVitSpec) -> None:
    model = build(spec, random_tensors(spec, 0), threads=2, isa=isa)
    images = [random_image(spec, seed) for seed in (1, 2, 1)]
    first, second, again = (run(model, image) for image in images)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


@BOTH
def test_threads_do_not_change_a_bit(isa: str, spec: SubVitSpec) -> None:
    weights, image = random_tensors(spec, 3), random_image(spec, 4)
    alone, *crews = (run(build(spec, weights, threads=n, isa=isa), image) for n in (1, 2, 3, 7))
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


@BOTH
def test_pulls_exactly_the_tensors_of_the_spec_in_order(spec: SubVitSpec) -> None:
    recorder = Recorder(random_tensors(spec, 0))
    build(spec, recorder)
    assert recorder.names == [tensor.name for tensor in spec.tensors()]


@BOTH
def test_says_what_it_is(isa: str, spec: SubVitSpec) -> None:
    weights = random_tensors(spec, 0)
    model = build(spec, weights, threads=2, isa=isa)
    assert (model.isa, model.threads, model.feature_dim) == (isa, 2, spec.feature_dim)
    activations = spec.tokens * (2 * spec.embed_dim + 3 * 3 * spec.head_dim) * 4
    assert model.memory_bytes >= sum(tensor.nbytes for tensor in weights.values()) + activations
    assert build(spec, weights).threads == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("spec", "name"),
    [(UNEVEN, tensor.name) for tensor in UNEVEN.tensors()][:4]
    + [(CCT, tensor.name) for tensor in CCT.tensors()][:10]
    + [(CCT, "pool.weight")],
)
def test_a_wrong_tensor_is_named(spec: SubVitSpec, name: str) -> None:
    weights = random_tensors(spec, 0)
    good = weights[name]
    weights[name] = good[:-1].copy()
    with pytest.raises(ValueError, match=rf"tensor '{name}' must have shape \({len(good)},"):
        build(spec, weights)
    weights[name] = good.astype(np.float64)
    with pytest.raises(TypeError, match=f"tensor '{name}' must be a C-contiguous float32 array"):
        build(spec, weights)
    weights[name] = np.repeat(good, 2, axis=-1)[..., ::2]
    with pytest.raises(TypeError, match=f"tensor '{name}' must be a C-contiguous float32 array"):
        build(spec, weights)
    del weights[name]
    with pytest.raises(KeyError, match=name):
        build(spec, weights)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@BOTH
def test_a_tensor_that_is_not_finite_is_named(spec: SubVitSpec, bad: float) -> None:
    weights = random_tensors(spec, 0)
    for name, good in weights.items():
        damaged = good.copy()
        damaged.flat[-1] = bad
        with pytest.raises(ValueError, match=f"tensor '{name}' holds NaN or infinity"):
            build(spec, weights | {name: damaged})


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


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"patch_size": 5}, "must be 0 with a tokenizer"),
        ({"prefix_tokens": 1}, "must be 0 with a tokenizer"),
        ({"tokenizer": []}, "patch_size must be in"),
        ({"tokenizer": [(0, 3, 1, 1)]}, "channels must be in"),
        ({"tokenizer": [(37, 0, 1, 0)]}, "kernel_size must be in"),
        ({"tokenizer": [(37, 3, 0, 1)]}, "stride must be in"),
        ({"tokenizer": [(37, 3, 1, 3)]}, "padding must be less than kernel_size"),
        ({"tokenizer": [(37, 3, 1, 2**64 - 1)]}, "padding must be less than kernel_size"),
        ({"tokenizer": [(37, 2**20, 1, 2**20 - 1)]}, r"kernel_size\^2 \* channels must be in"),
        ({"tokenizer": [(37, 36, 1, 0)]}, "leaves no token"),
        ({"tokenizer": [(4, 7, 9, 0), (37, 5, 1, 0)]}, "leaves no token"),
        ({"tokenizer": [(36, 3, 1, 1)]}, "must have embed_dim channels"),
        ({"tokenizer": [(2**20, 3, 1, 1), (37, 3, 1, 1)]}, "more than 67108864 numbers"),
        ({"tokenizer": [(37, 1, 1, 0)], "image_size": 2**20}, "more than 67108864 numbers"),
        ({"tokenizer": [(37, 1, 1, 0)], "image_size": 257}, "more than 16384 tokens"),
        ({"tokenizer": [(37, 1, 1, 0)], "image_size": 0}, "image_size must be in"),
    ],
)
def test_an_impossible_cct_is_an_error(fields: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "image_size": 35,
        "patch_size": 0,
        "embed_dim": 37,
        "head_dim": 13,
        "prefix_tokens": 0,
        "blocks": [(1, 5)],
        "norm_eps": 1e-6,
        "tensors": {},
        "tokenizer": [(37, 3, 1, 1)],
    }
    with pytest.raises(ValueError, match=message):
        _core.SubVit(**(arguments | fields))


AFTER_FORK = """
import os, sys
from tests.kernels.reference import random_tensors
from tests.kernels.sub_vits import UNEVEN, build, random_image, run
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
