"""csrc/kernels/gemm/gemm_f16.h: both arithmetics, bounds, every half, what the binding refuses."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from devit_iot import _core
from tests.kernels.gemms import Epilogue, gelu_bound, in_halves
from tests.kernels.gemms import reference as float32_reference
from tests.kernels.guarded import guarded, guarded_copy
from tests.kernels.reference import F32, F64, UNIT, gelu

F16 = NDArray[np.float16]
HALF_UNIT = 2.0**-11  # the error of one rounding to a half
BLOCK = 64
TINY, HUGE = 2.0**-96, 2.0**96
EPILOGUES = ["none", "gelu", "residual"]


class Layer(NamedTuple):
    a: F32
    weight: F16
    bias: F32

    @classmethod
    def random(cls, rows: int, depth: int, cols: int, seed: int) -> "Layer":
        rng = np.random.default_rng(seed)
        spread = np.exp(rng.normal(size=(rows, 1))).astype(np.float32)
        size = np.exp(rng.uniform(-10, 10))  # weights from subnormal to huge
        return cls(
            rng.standard_normal((rows, depth), np.float32) * spread,
            np.clip(rng.standard_normal((cols, depth)) * size, -65504, 65504).astype(np.float16),
            rng.standard_normal(cols, np.float32),
        )


def limit(weight: F16) -> float:
    """The largest power of two with which sums of a block of products stay below 2^15."""
    _, exponent = np.frexp(np.abs(weight.astype(np.float64)).max())
    return float(2.0 ** min(15, 15 - 6 - int(exponent)))


def run(layer: Layer, isa: str, epilogue: Epilogue = "none", old: F32 | None = None) -> F32:
    out = guarded((len(layer.a), len(layer.weight)))
    if old is not None:
        out.array[...] = old
    _core.gemm_f16(
        guarded_copy(layer.a),
        guarded_copy(layer.weight),
        guarded_copy(layer.bias),
        out.array,
        epilogue=epilogue,
        isa=isa,
    )
    out.assert_intact()
    return out.array


def reference(layer: Layer, isa: str, epilogue: Epilogue, old: F32) -> tuple[F64, F64]:
    """The exact result, and the promised bound of the error."""
    if not in_halves(isa):
        floats = layer.weight.astype(np.float32)
        return float32_reference(layer.a, floats, layer.bias, old, epilogue)
    a, weight = layer.a.astype(np.float64), layer.weight.astype(np.float64).T
    residual = old.astype(np.float64) if epilogue == "residual" else np.zeros(old.shape)
    y = a @ weight + layer.bias + residual
    depth = a.shape[1]
    size = np.abs(a) @ np.abs(weight)
    # The power of two by which a row was divided is at most twice its largest over the limit.
    a_scale = 2 * np.abs(a).max(axis=1, keepdims=True) / limit(layer.weight)
    bound = (
        HALF_UNIT * (1.02 * min(depth, BLOCK) + 2) * size
        + 2.0**-25 * a_scale * (np.abs(weight).sum(axis=0) + 1.04 * depth)
        + 2 * UNIT * (depth / BLOCK + 3) * (np.abs(layer.bias) + size + np.abs(residual))
    )
    if epilogue == "gelu":
        return gelu(y), 1.13 * bound + gelu_bound(y)
    return y, bound


SHAPES = {"rows": st.integers(1, 40), "depth": st.integers(1, 140), "cols": st.integers(1, 50)}
SEED = st.integers(0, 2**32 - 1)


@given(**SHAPES, epilogue=st.sampled_from(EPILOGUES), seed=SEED)
@example(rows=197, depth=192, cols=64, epilogue="gelu", seed=0)
@example(rows=2, depth=1536, cols=192, epilogue="residual", seed=0)
@example(rows=300, depth=500, cols=20, epilogue="none", seed=0)
def test_matches_float64(
    isa: str, rows: int, depth: int, cols: int, epilogue: Epilogue, seed: int
) -> None:
    layer = Layer.random(rows, depth, cols, seed)
    old = np.random.default_rng(seed).standard_normal((rows, cols), np.float32)
    wanted, bound = reference(layer, isa, epilogue, old)
    assert np.all(np.abs(run(layer, isa, epilogue, old) - wanted) <= bound)


@pytest.mark.parametrize("depth", [64, 3072])
def test_random_errors_are_small(isa: str, depth: int) -> None:
    """The bound is for the worst signs; sums in halves alone would be off by more than this."""
    rng = np.random.default_rng(depth)
    a = rng.standard_normal((8, depth), np.float32)
    weight = rng.standard_normal((48, depth)).astype(np.float16)
    found = run(Layer(a, weight, np.zeros(48, np.float32)), isa)
    wanted = a.astype(np.float64) @ weight.astype(np.float64).T
    assert np.linalg.norm(found - wanted) <= 4 * HALF_UNIT * np.linalg.norm(wanted)


@given(**SHAPES, epilogue=st.sampled_from(EPILOGUES), seed=SEED)
@example(rows=241, depth=769, cols=33, epilogue="gelu", seed=1)
def test_float32_gives_exactly_what_the_same_weights_give_as_floats(
    isa: str, rows: int, depth: int, cols: int, epilogue: Epilogue, seed: int
) -> None:
    if in_halves(isa):
        pytest.skip("sums in halves")
    layer = Layer.random(rows, depth, cols, seed)
    old = np.random.default_rng(seed).standard_normal((rows, cols), np.float32)
    wanted = old.copy()
    weight = layer.weight.astype(np.float32)
    _core.gemm(layer.a, weight, layer.bias, wanted, epilogue=epilogue, isa=isa)
    np.testing.assert_array_equal(run(layer, isa, epilogue, old), wanted)


def test_every_half_is_multiplied_exactly(isa: str) -> None:
    halves = np.arange(2**16, dtype=np.uint32).astype(np.uint16).view(np.float16)
    weight = halves[np.isfinite(halves)][:, None]
    one = np.ones((1, 1), np.float32)
    for group in np.array_split(weight, 64):  # alike in size, so that halves lose nothing
        found = run(Layer(one, group, np.zeros(len(group), np.float32)), isa)
        np.testing.assert_array_equal(found[0], group[:, 0].astype(np.float32))


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_a_row_does_not_depend_on_its_tile(isa: str, epilogue: Epilogue) -> None:
    layer = Layer.random(19, 77, 21, 5)
    together = run(layer, isa, epilogue, np.ones((19, 21), np.float32))
    for row in range(19):
        alone = layer._replace(a=layer.a[row : row + 1])
        found = run(alone, isa, epilogue, np.ones((1, 21), np.float32))
        np.testing.assert_array_equal(found[0], together[row])


@pytest.mark.parametrize("depth", [1, 63, 64, 65, 577, 3072])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("activation", [1e-20, 1.0, 65520.0, 1e20])
def test_the_largest_sums_do_not_overflow(
    isa: str, depth: int, sign: int, activation: float
) -> None:
    layer = Layer(
        np.full((9, depth), sign * activation, np.float32),
        np.full((17, depth), 65504, np.float16),
        np.zeros(17, np.float32),
    )
    wanted, bound = reference(layer, isa, "none", np.zeros((9, 17), np.float32))
    assert np.all(np.abs(run(layer, isa) - wanted) <= bound)


def test_zeros_leave_the_bias(isa: str) -> None:
    layer = Layer.random(6, 33, 10, 0)
    layer.a[2:4] = 0
    np.testing.assert_array_equal(run(layer, isa)[2:4], np.stack([layer.bias] * 2))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_shows(isa: str, bad: float) -> None:
    layer = Layer.random(9, 40, 11, 0)
    wanted = run(layer, isa)
    layer.a[4, 38] = bad
    found = run(layer, isa)
    assert not np.any(np.isfinite(found[4]))
    np.testing.assert_array_equal(np.delete(found, 4, 0), np.delete(wanted, 4, 0))


@given(
    rows=st.integers(1, 20),
    depth=st.integers(1, 300),
    exponent=st.floats(-44, 37),
    largest=st.sampled_from([2.0**-24, 0.1, 1.0, 65504.0]),
    seed=SEED,
)
def test_rows_are_rounded_to_the_nearest(
    isa: str, rows: int, depth: int, exponent: float, largest: float, seed: int
) -> None:
    weight = np.full((1, 1), largest, np.float16)
    wide = np.random.default_rng(seed).standard_normal((rows, depth)) * 10**exponent
    x: F32 = np.clip(wide, -3e38, 3e38).astype(np.float32)
    rounded = _core.round_f16(guarded_copy(x), weight, isa=isa)
    if rounded is None:
        pytest.skip("activations stay float32")
    q, scale = rounded[0].astype(np.float64), rounded[1].astype(np.float64)
    top = np.abs(x).max(axis=1)
    tiny, huge = top < TINY, top >= HUGE
    assert np.all(np.isnan(scale[huge]))
    assert np.all(scale[tiny] == 0)
    assert np.all(q[tiny | huge] == 0)
    q, scale, x = (values[~(tiny | huge)] for values in (q, scale, x))
    assert np.all(np.frexp(scale)[0] == 0.5)  # powers of two
    reached = np.abs(q).max(axis=1)
    assert np.all((limit(weight) / 2 <= reached) & (reached <= limit(weight)))
    error = np.abs(x - scale[:, None] * q)
    assert np.all(error <= HALF_UNIT * np.abs(x) + 2.0**-25 * scale[:, None])


def small(name: str, wrong: F32 | F16) -> dict[str, F32 | F16]:
    arrays: dict[str, F32 | F16] = {
        "a": np.zeros((2, 3), np.float32),
        "weight": np.zeros((4, 3), np.float16),
        "bias": np.zeros(4, np.float32),
        "out": np.zeros((2, 4), np.float32),
    }
    return arrays | {name: wrong}


@pytest.mark.parametrize("name", ["a", "weight", "bias", "out"])
def test_other_dtypes_and_layouts_are_refused_not_converted(name: str) -> None:
    right = small("", np.zeros(0, np.float16))[name]
    for wrong in (
        right.astype(np.float64),
        right.view(np.int16 if right.dtype == np.float16 else np.int32),
        np.repeat(right, 2, axis=-1)[..., ::2],
    ):
        with pytest.raises(TypeError):
            _core.gemm_f16(**small(name, wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "shape"),
    [("a", (3,)), ("a", (0, 3)), ("weight", (4, 2)), ("bias", (5,)), ("out", (2, 3))],
)
def test_wrong_shapes_are_named(name: str, shape: tuple[int, ...]) -> None:
    wrong = np.zeros(shape, np.float16 if name == "weight" else np.float32)
    with pytest.raises(ValueError, match=f"^{name} must have"):
        _core.gemm_f16(**small(name, wrong))  # type: ignore[arg-type]
