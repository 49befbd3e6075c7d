"""The whole fleet in one process: every part takes its own pixels of an image."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from devit_iot.bundle.spec import Resize, SubVitSpec
from devit_iot.engine.base import load_engine
from devit_iot.engine.image import load_image
from devit_iot.evaluation.local import LocalFleet
from tests.support import fleets


def test_parts_that_resize_differently_see_different_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = fleets.part_spec(0)
    specs = (
        usual,
        msgspec.structs.replace(usual, resize=Resize("squash")),
        msgspec.structs.replace(usual, resize=Resize("crop", "bilinear")),
    )

    def spec_of(part: int) -> SubVitSpec:
        return specs[part]

    monkeypatch.setattr(fleets, "part_spec", spec_of)
    bundle = fleets.make_bundle(tmp_path / "bundle", parts=len(specs))
    payload = fleets.image_file(1, size=(60, 31))
    squares = [load_image(payload, spec) for spec in specs]
    assert not np.array_equal(squares[0], squares[1])
    assert not np.array_equal(squares[0], squares[2])
    found = LocalFleet(bundle).features(payload)
    for part, (square, feature) in enumerate(zip(squares, found, strict=True)):
        wanted = load_engine(bundle.read_part(part), name="native").features(square)
        np.testing.assert_array_equal(feature.values, wanted)
