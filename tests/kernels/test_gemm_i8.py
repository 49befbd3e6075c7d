"""csrc/kernels/gemm/gemm_i8.h: quantised rows, exact sums, bounds, what the binding refuses."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from devit_iot import _core
from tests.kernels.gemms import MAX_DEPTH, Epilogue, gelu_bound, levels
from tests.kernels.guarded import guarded, guarded_copy
from tests.kernels.reference import F32, F64, UNIT, gelu

I8 = NDArray[np.int8]
TINY = 2.0**-96


class Layer(NamedTuple):
    a: F32
    weight: I8
    scale: F32
    bias: F32

    @classmethod
    def random(cls, rows: int, depth: int, cols: int, seed: int) -> "Layer":
        rng = np.random.default_rng(seed)
        spread = np.exp(rng.normal(size=(rows, 1))).astype(np.float32)
        return cls(
            rng.standard_normal((rows, depth), np.float32) * spread,
            rng.integers(-127, 128, (cols, depth)).astype(np.int8),
            (rng.uniform(0.5, 2, cols) / 127).astype(np.float32),
            rng.standard_normal(cols, np.float32),
        )


def run(layer: Layer, isa: str, epilogue: Epilogue = "none", old: F32 | None = None) -> F32:
    out = guarded((len(layer.a), len(layer.weight)))
    if old is not None:
        out.array[...] = old
    _core.gemm_i8(
        guarded_copy(layer.a),
        guarded_copy(layer.weight),
        guarded_copy(layer.scale),
        guarded_copy(layer.bias),
        out.array,
        epilogue=epilogue,
        isa=isa,
    )
    out.assert_intact()
    return out.array


def reference(layer: Layer, isa: str, epilogue: Epilogue, old: F32) -> tuple[F64, F64]:
    """The result without quantised activations, and the promised bound of the error."""
    a = layer.a.astype(np.float64)
    weight = (layer.scale.astype(np.float64)[:, None] * layer.weight).T
    residual = old.astype(np.float64) if epilogue == "residual" else np.zeros(old.shape)
    y = a @ weight + layer.bias + residual
    count = levels(a.shape[1], isa)
    a_scale = np.abs(a).max(axis=1, keepdims=True) / count
    sizes = np.abs(weight).sum(axis=0)
    terms = (np.abs(a) + a_scale) @ np.abs(weight)
    roundings = 4 * UNIT * (np.abs(layer.bias) + terms + np.abs(residual))
    bound = a_scale * (0.5 + 4 * UNIT * count) * sizes + roundings + TINY * sizes
    if epilogue == "gelu":
        return gelu(y), 1.13 * bound + gelu_bound(y)
    return y, bound


SHAPES = {"rows": st.integers(1, 40), "depth": st.integers(1, 140), "cols": st.integers(1, 50)}
SEED = st.integers(0, 2**32 - 1)


@given(**SHAPES, epilogue=st.sampled_from(["none", "gelu", "residual"]), seed=SEED)
@example(rows=197, depth=192, cols=64, epilogue="gelu", seed=0)
@example(rows=2, depth=1536, cols=192, epilogue="residual", seed=0)
def test_matches_float64(
    isa: str, rows: int, depth: int, cols: int, epilogue: Epilogue, seed: int
) -> None:
    layer = Layer.random(rows, depth, cols, seed)
    old = np.random.default_rng(seed).standard_normal((rows, cols), np.float32)
    wanted, bound = reference(layer, isa, epilogue, old)
    assert np.all(np.abs(run(layer, isa, epilogue, old) - wanted) <= bound)


@given(**SHAPES, seed=SEED)
def test_sums_are_exact(isa: str, rows: int, depth: int, cols: int, seed: int) -> None:
    layer = Layer.random(rows, depth, cols, seed)
    q, a_scale = _core.quantize_i8(layer.a, isa=isa)
    sums = q.astype(np.int64) @ layer.weight.astype(np.int64).T
    exact = sums * a_scale.astype(np.float64)[:, None] * layer.scale
    wanted = exact + layer.bias
    bound = 4 * UNIT * (np.abs(exact) + np.abs(layer.bias))
    assert np.all(np.abs(run(layer, isa) - wanted) <= bound)


@given(
    rows=st.integers(1, 20),
    depth=st.integers(1, 300),
    exponent=st.floats(-44, 37),
    seed=SEED,
)
def test_rows_are_quantised_to_the_nearest(
    isa: str, rows: int, depth: int, exponent: float, seed: int
) -> None:
    wide = np.random.default_rng(seed).standard_normal((rows, depth)) * 10**exponent
    x: F32 = np.clip(wide, -3e38, 3e38).astype(np.float32)
    q, scale = _core.quantize_i8(guarded_copy(x), isa=isa)
    count = levels(depth, isa)
    largest = np.abs(x).max(axis=1)
    tiny = largest < TINY
    assert np.all(q[tiny] == 0)
    assert np.all(scale[tiny] == 0)
    np.testing.assert_allclose(scale[~tiny], largest[~tiny] / count, rtol=2 * UNIT)
    assert np.all(np.abs(q.astype(np.int64)).max(axis=1)[~tiny] == count)
    error = np.abs(x - scale.astype(np.float64)[:, None] * q)
    assert np.all(error <= np.where(tiny, TINY, scale * (0.5 + 4 * UNIT * count))[:, None])


@pytest.mark.parametrize("depth", [1, 2, 31, 32, 64, 577, 3072, MAX_DEPTH])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("weight", [-128, -127, 127])
def test_the_largest_sums_do_not_overflow(isa: str, depth: int, sign: int, weight: int) -> None:
    layer = Layer(
        np.full((7, depth), sign, np.float32),
        np.full((17, depth), weight, np.int8),
        np.ones(17, np.float32),
        np.zeros(17, np.float32),
    )
    wanted = np.full((7, 17), float(sign * weight * depth))
    np.testing.assert_allclose(run(layer, isa), wanted, rtol=8 * UNIT)


def test_neighbours_of_opposite_sign_do_not_saturate(isa: str) -> None:
    a = np.tile(np.array([1, -1], np.float32), (5, 40))
    weight = np.tile(np.array([127, -127], np.int8), (9, 40))
    layer = Layer(a, weight, np.ones(9, np.float32), np.zeros(9, np.float32))
    np.testing.assert_allclose(run(layer, isa), np.full((5, 9), 80 * 127.0), rtol=8 * UNIT)


@pytest.mark.parametrize("epilogue", ["none", "gelu", "residual"])
def test_a_row_does_not_depend_on_its_tile(isa: str, epilogue: Epilogue) -> None:
    layer = Layer.random(19, 37, 21, 5)
    together = run(layer, isa, epilogue, np.ones((19, 21), np.float32))
    for row in range(19):
        alone = layer._replace(a=layer.a[row : row + 1])
        found = run(alone, isa, epilogue, np.ones((1, 21), np.float32))
        np.testing.assert_array_equal(found[0], together[row])


def test_zeros_leave_the_bias(isa: str) -> None:
    layer = Layer.random(6, 33, 10, 0)
    layer.a[2:4] = 0
    np.testing.assert_array_equal(run(layer, isa)[2:4], np.stack([layer.bias] * 2))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_nan(isa: str, bad: float) -> None:
    layer = Layer.random(9, 40, 11, 0)
    wanted = run(layer, isa)
    layer.a[4, 38] = bad
    found = run(layer, isa)
    assert np.all(np.isnan(found[4]))
    np.testing.assert_array_equal(np.delete(found, 4, 0), np.delete(wanted, 4, 0))


def small(name: str, wrong: F32 | I8) -> dict[str, F32 | I8]:
    arrays: dict[str, F32 | I8] = {
        "a": np.zeros((2, 3), np.float32),
        "weight": np.zeros((4, 3), np.int8),
        "scale": np.ones(4, np.float32),
        "bias": np.zeros(4, np.float32),
        "out": np.zeros((2, 4), np.float32),
    }
    return arrays | {name: wrong}


@pytest.mark.parametrize("name", ["a", "weight", "scale", "bias", "out"])
def test_other_dtypes_and_layouts_are_refused_not_converted(name: str) -> None:
    right = small("", np.zeros(0, np.int8))[name]
    for wrong in (right.astype(np.float64), np.repeat(right, 2, axis=-1)[..., ::2]):
        with pytest.raises(TypeError):
            _core.gemm_i8(**small(name, wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("a", (3,)),
        ("a", (0, 3)),
        ("weight", (4, 2)),
        ("scale", (3,)),
        ("bias", (5,)),
        ("out", (2, 3)),
    ],
)
def test_wrong_shapes_are_named(name: str, shape: tuple[int, ...]) -> None:
    wrong = np.zeros(shape, np.int8 if name == "weight" else np.float32)
    with pytest.raises(ValueError, match=f"^{name} must have"):
        _core.gemm_i8(**small(name, wrong))  # type: ignore[arg-type]


def test_rows_that_could_overflow_are_refused() -> None:
    long = np.zeros((1, MAX_DEPTH + 1), np.float32)
    with pytest.raises(ValueError, match="int8 takes rows of at most 131072 numbers, got 131073"):
        _core.quantize_i8(long)
    out = np.zeros((1, 1), np.float32)
    with pytest.raises(ValueError, match="int8 takes rows of at most 131072"):
        _core.gemm_i8(long, long.astype(np.int8), out[0], out[0], out)
