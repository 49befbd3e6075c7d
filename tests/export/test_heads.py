"""Heads of attention: known from published networks, assumed aloud, or asked for."""

from typing import Any

import numpy as np
import pytest

from devit_iot.errors import DataError
from devit_iot.export.heads import PUBLISHED, Heads, head_dim
from devit_iot.export.importer import is_sine_cosine
from tests.support.spellings import timm


def heads_of(shape: tuple[int, int], **known: Any) -> Heads:  # noqa: ANN401 - bool, int
    """Where nothing is known but the shape, and what is given."""
    unknown = {"compact": False, "fixed_positions": False}
    nobody = dict.fromkeys(("told", "asked", "asked_dim"))
    return head_dim(shape[0], shape, **{**unknown, **nobody, **known})


def test_heads_of_published_networks_are_known_and_others_asked_for() -> None:
    for (width, depth), heads in PUBLISHED.items():
        assert heads_of((width, depth)).head_dim == width // heads
    assert heads_of((1280, 32)).head_dim == 80  # not 64, of which 1280 is a multiple too
    for shape in ((192, 4), (64, 6), (1280, 12)):
        with pytest.raises(DataError, match="nothing says how many attention heads"):
            heads_of(shape)


@pytest.mark.parametrize(
    ("shape", "usual", "others"), [((192, 12), 3, "MAE"), ((384, 12), 6, "MoCo v3")]
)
def test_heads_that_known_networks_have_otherwise_are_no_certainty(
    shape: tuple[int, int], usual: int, others: str
) -> None:
    found = heads_of(shape)
    assert found.head_dim == shape[0] // usual
    assert "ASSUMED" in found.origin
    assert others in found.origin
    with pytest.raises(DataError, match=rf"fixed sines and cosines.*{others}.*give --heads"):
        heads_of(shape, fixed_positions=True)
    for said in ("told", "asked"):
        assert heads_of(shape, fixed_positions=True, **{said: 12}).head_dim == shape[0] // 12
    assert heads_of((768, 12), fixed_positions=True).head_dim == 64  # MAE's base has 12 too


def test_positions_that_were_never_trained_are_known() -> None:
    """As in MAE's and MoCo v3's ``build_2d_sincos_position_embedding``."""
    row, column = np.mgrid[0:4, 0:4].reshape(2, 16, 1) / 10000 ** (np.arange(6) / 6)
    fixed = np.concatenate([np.sin(column), np.cos(column), np.sin(row), np.cos(row)], axis=1)
    stored = np.concatenate([np.zeros((1, 24)), fixed])[None]
    assert is_sine_cosine(stored)
    assert not is_sine_cosine(stored[:, ::-1, ::-1] * 0.5)
    assert not is_sine_cosine(timm()["pos_embed"].astype(np.float64))
    assert not is_sine_cosine(np.zeros((1, 17, 24)))
