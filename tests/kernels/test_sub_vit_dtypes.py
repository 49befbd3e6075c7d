"""What holds of the forward pass on packed weights, whatever they are packed in."""

from collections.abc import Callable

import numpy as np
import pytest

from devit_iot import _core
from devit_iot.bundle.spec import SubVitSpec
from tests.kernels.reference import random_tensors
from tests.kernels.sub_vits import BOTH, build_f16, build_i8, random_image, run

PACKED = pytest.mark.parametrize("build", [build_f16, build_i8], ids=["float16", "int8"])


@BOTH
@PACKED
def test_threads_do_not_change_a_bit(
    isa: str, spec: SubVitSpec, build: Callable[..., _core.SubVit]
) -> None:
    weights, image = random_tensors(spec, 3), random_image(spec, 4)
    alone, *crews = (run(build(spec, weights, threads=n, isa=isa), image) for n in (1, 2, 3, 7))
    for crew in crews:
        np.testing.assert_array_equal(crew, alone)


@BOTH
@PACKED
def test_every_image_starts_afresh(
    isa: str, spec: SubVitSpec, build: Callable[..., _core.SubVit]
) -> None:
    model = build(spec, random_tensors(spec, 0), threads=2, isa=isa)
    images = [random_image(spec, seed) for seed in (1, 2, 1)]
    first, second, again = (run(model, image) for image in images)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)
