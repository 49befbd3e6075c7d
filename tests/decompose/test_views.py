"""What parts see in training is what they see when they serve."""

import io

import numpy as np
import pytest
import torch
from msgspec import UNSET
from msgspec.structs import replace
from PIL import Image

from devit_iot.bundle.spec import CROPPED, WHOLE, BlockSpec, Resize, SubVitSpec, View
from devit_iot.decompose.network.models import SubVit
from devit_iot.decompose.network.views import crop_view, views, zoom
from devit_iot.engine.image import load_image

SPEC = SubVitSpec(
    image_size=24,
    resize_size=24,
    patch_size=8,
    embed_dim=8,
    head_dim=4,
    prefix_tokens=1,
    blocks=(BlockSpec(2, 8),),
)


def picture(side: int) -> Image.Image:
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (9, 9, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 5, 8])
def test_a_grid_covers_the_image_and_its_views_overlap(parts: int) -> None:
    found = views("grid", parts)
    assert len(found) == parts
    for view in found:
        assert all(holds for holds, _ in view.rules())
        assert view.zoom <= zoom("grid")
    if parts == 1:
        assert found == (WHOLE,)
        return
    seen = np.zeros((100, 100), int)
    for view in found:
        x, y = round(100 * view.x), round(100 * view.y)
        seen[y : y + round(100 * view.height), x : x + round(100 * view.width)] += 1
    assert seen[30:70, 30:70].min() == parts
    assert (seen.min() > 0) == (parts > 3)


def test_rectangles_are_taken_as_they_are() -> None:
    assert views([(0.0, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 0.5)], 2)[1] == View(0.0, 0.5, 1.0, 0.5)
    assert zoom([(0.0, 0.0, 1.0, 0.5)]) == 2
    assert views("whole", 3) == (WHOLE,) * 3
    assert zoom("whole") == 1


@pytest.mark.parametrize(
    "how", [CROPPED, Resize("squash"), Resize("squash", "bilinear"), Resize("crop", "bilinear")],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("view", [*views("grid", 4), View(0.5, 0.0, 0.5, 1.0)], ids=str)
def test_training_and_serving_see_the_same(view: View, how: Resize) -> None:
    """The squared image is decoded once, enlarged; a board decodes its own view from the file."""
    spec = replace(SPEC, view=view, resize=UNSET if how == CROPPED else how)
    side = round(SPEC.image_size * view.zoom)
    buffer = io.BytesIO()
    image = picture(61)
    (image.crop((0, 10, 61, 51)) if how.fit == "squash" else image).save(buffer, "png")
    squared = load_image(
        buffer.getvalue(), replace(spec, view=UNSET, image_size=side, resize_size=side)
    )
    trained = crop_view(torch.from_numpy(squared).permute(2, 0, 1)[None].float(), spec)
    served = load_image(buffer.getvalue(), spec).astype(np.float32)
    difference = np.abs(trained[0].permute(1, 2, 0).numpy() - served)
    if view.width == view.height:
        assert difference.max() == 0
    else:  # one axis was resized a second time
        assert difference.mean() < 2


def test_a_network_looks_at_its_view_alone() -> None:
    torch.manual_seed(1)
    vit = SubVit(replace(SPEC, view=View(0.5, 0.5, 0.5, 0.5)))
    images = torch.randn(2, 3, 48, 48)
    tokens = vit(images).tokens
    elsewhere = images.clone()
    elsewhere[..., :24, :] = 0
    elsewhere[..., :24] = 0
    torch.testing.assert_close(vit(elsewhere).tokens, tokens)
    inside = images.clone()
    inside[..., 30:, 30:] = 0
    assert not torch.allclose(vit(inside).tokens, tokens)


def test_larger_images_are_made_smaller_and_equal_ones_are_not_touched() -> None:
    images = torch.randn(2, 3, 24, 24)
    assert (
        crop_view(images, SPEC) is images or crop_view(images, SPEC).data_ptr() == images.data_ptr()
    )
    assert crop_view(torch.randn(2, 3, 50, 50), SPEC).shape == (2, 3, 24, 24)
    flat = torch.full((1, 3, 50, 50), 3.0)
    torch.testing.assert_close(crop_view(flat, SPEC), torch.full((1, 3, 24, 24), 3.0))
