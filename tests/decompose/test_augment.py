"""Augmentation changes what it says, mixed labels share as the pixels do; batches lose no image."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from devit_iot.decompose.network.losses import soft_targets
from devit_iot.decompose.recipe import AugmentConfig
from devit_iot.decompose.stages.images import Decoded
from devit_iot.decompose.training.augment import Augment
from devit_iot.decompose.training.batches import Batches
from devit_iot.export.fold import Normalisation

NORMALISATION = Normalisation((0.5, 0.4, 0.3), (0.25, 0.2, 0.5))
AS_IT_IS = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
NOTHING = AugmentConfig()


def random_images(count: int, size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def formula(images: Tensor, crop: int) -> Tensor:
    """The centre, normalised pixel by pixel."""
    low = (images.shape[-1] - crop) // 2
    wanted = torch.empty(len(images), 3, crop, crop)
    for channel in range(3):
        for row in range(crop):
            for column in range(crop):
                pixels = images[:, channel, low + row, low + column].double() / 255
                wanted[:, channel, row, column] = (
                    pixels - NORMALISATION.mean[channel]
                ) / NORMALISATION.std[channel]
    return wanted


@pytest.mark.parametrize("crop", [6, 7, 8, 9])
def test_normalise_is_the_formula_on_the_centre(crop: int) -> None:
    images = random_images(2, 9)
    augment = Augment(AugmentConfig(flip=0.9, mixup=1.0), NORMALISATION, crop, mix=True)
    torch.testing.assert_close(augment.normalise(images), formula(images, crop))


def test_nothing_changes_nothing() -> None:
    images, labels = random_images(5, 8), torch.arange(5)
    found, same = Augment(NOTHING, NORMALISATION, 8, mix=True)(images, labels)
    torch.testing.assert_close(found, formula(images, 8))
    assert same is labels


def test_larger_images_are_cut_anywhere() -> None:
    """Rows and columns hold their own number: a crop's corner says where it was taken."""
    rows = torch.arange(12, dtype=torch.uint8)[:, None].expand(12, 12)
    images = torch.stack([rows, rows.T, rows]).expand(200, 3, 12, 12)
    torch.manual_seed(1)
    found, _ = Augment(NOTHING, AS_IT_IS, 8, mix=False)(images, torch.zeros(200))
    numbers = (found * 255).round()
    corners = set(map(tuple, numbers[:, :2, 0, 0].int().tolist()))
    assert corners == {(row, column) for row in range(5) for column in range(5)}
    torch.testing.assert_close(
        numbers[:, 0] - numbers[:, :1, 0, 0, None], rows[:8, :8].expand(200, 8, 8).float()
    )


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(pad_crop=2),
        AugmentConfig(resized_crop=0.5),
        AugmentConfig(flip=0.5),
        AugmentConfig(rotate_deg=15.0),
        AugmentConfig(scale=0.2),
        AugmentConfig(shift=0.2),
        AugmentConfig(rand_augment=9),
        AugmentConfig(erasing=0.5),
    ],
    ids=str,
)
def test_every_change_changes_and_keeps_labels_and_shape(config: AugmentConfig) -> None:
    torch.manual_seed(2)
    images, labels = random_images(32, 8), torch.arange(32)
    augment = Augment(config, NORMALISATION, 8, mix=True)
    found, same = augment(images, labels)
    assert same is labels
    assert (found.shape, found.dtype) == ((32, 3, 8, 8), torch.float32)
    assert found.isfinite().all()
    changed = (found - augment.normalise(images)).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert changed.sum() >= 8
    torch.manual_seed(2)
    assert torch.equal(augment(images, labels)[0], found)


def test_a_flip_is_a_mirror_image() -> None:
    torch.manual_seed(3)
    images = random_images(64, 6)
    found, _ = Augment(AugmentConfig(flip=0.5), AS_IT_IS, 6, mix=False)(images, torch.zeros(64))
    wanted = images.float() / 255
    flipped = (found - wanted.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-6
    kept = (found - wanted).abs().amax(dim=(1, 2, 3)) < 1e-6
    assert (flipped ^ kept).all()
    assert 16 < flipped.sum() < 48


def mixed(config: AugmentConfig, count: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Image i is of one colour, i, and of class i: what comes out tells who went in."""
    torch.manual_seed(seed)
    colours = torch.arange(count, dtype=torch.uint8)[:, None, None, None]
    images = colours.expand(count, 3, size, size)
    changed, labels = Augment(config, AS_IT_IS, size, mix=True)(images, torch.arange(count))
    return changed * 255, labels


def pixel_shares(images: Tensor) -> Tensor:
    """The share of each colour in each image: float32[count, count]."""
    colours = torch.arange(len(images))[:, None, None, None]
    return (images[:, None, 0].round() == colours[:, 0]).float().mean(dim=(2, 3))


@pytest.mark.parametrize("size", [8, 9, 32])
@pytest.mark.parametrize("seed", range(3))
def test_cutmix_labels_share_as_the_pixels_do(size: int, seed: int) -> None:
    images, labels = mixed(AugmentConfig(cutmix=1.0), 30, size, seed)
    shares = pixel_shares(images)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(30))
    torch.testing.assert_close(soft_targets(labels, 30, 0.0), shares, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_mixup_labels_share_as_the_pixels_do(seed: int) -> None:
    images, labels = mixed(AugmentConfig(mixup=1.0), 30, 8, seed)
    targets = soft_targets(labels, 30, 0.0)
    assert torch.equal(labels[:, 0], torch.arange(30.0))
    colours = targets @ torch.arange(30.0)
    torch.testing.assert_close(images, colours[:, None, None, None].expand_as(images))


def test_each_mix_has_its_probability() -> None:
    config = AugmentConfig(mixup=0.3, cutmix=0.5)
    kinds = []
    for seed in range(200):
        images, labels = mixed(config, 4, 8, seed)
        if labels.ndim == 1:
            kinds.append("none")
        else:
            flat = bool((images.amax(dim=(2, 3)) - images.amin(dim=(2, 3)) < 1e-3).all())
            whole = bool((images - images.round()).abs().max() < 1e-3)
            kinds.append("mixup" if flat and not whole else "cutmix")
    assert 40 <= kinds.count("mixup") <= 80
    assert 75 <= kinds.count("cutmix") <= 125
    assert 20 <= kinds.count("none") <= 60


def test_mixing_can_be_left_out() -> None:
    images, labels = random_images(4, 8), torch.arange(4)
    config = AugmentConfig(mixup=1.0, cutmix=1.0)
    found, same = Augment(config, NORMALISATION, 8, mix=False)(images, labels)
    torch.testing.assert_close(found, formula(images, 8))
    assert same is labels


def coloured(count: int) -> NDArray[np.uint8]:
    """Image i is of one colour, i."""
    colours = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return np.tile(colours, (1, 4, 4, 3))


def make(rows: Sequence[int], batch: int, share: tuple[int, int] = (0, 1)) -> Batches:
    return Batches(
        Decoded(coloured(256), torch.device("cpu")),
        np.arange(256) * 7,
        np.array(rows),
        Augment(NOTHING, AS_IT_IS, 4, mix=False),
        batch=batch,
        device=torch.device("cpu"),
        share=share,
    )


def epoch(batches: Batches, seed: int) -> list[list[int]]:
    """The rows of every step, by the images' colours; labels must agree."""
    steps = []
    for images, labels, answers in batches.epoch(0, seed):
        assert answers is None
        rows = (images[:, 0, 0, 0] * 255).round().long()
        assert torch.equal(labels, rows * 7)
        steps.append(rows.tolist())
    return steps


SETS = st.sets(st.integers(0, 255), min_size=1).map(sorted)


@settings(deadline=None, max_examples=30)
@given(rows=SETS, batch=st.integers(1, 64), seed=st.integers(0, 2**32 - 1))
def test_every_image_comes_once_an_epoch(rows: list[int], batch: int, seed: int) -> None:
    batches = make(rows, batch)
    steps = epoch(batches, seed)
    assert sorted(row for step in steps for row in step) == rows
    assert len(steps) == len(batches)
    assert all(len(step) == batch for step in steps[:-1])
    assert epoch(make(rows, batch), seed) == steps


def test_every_epoch_has_its_own_order() -> None:
    batches = make(range(100), 16)
    orders = [[row for step in epoch(batches, seed) for row in step] for seed in range(4)]
    assert len(set(map(tuple, [*orders, list(range(100))]))) == 5


@settings(deadline=None, max_examples=30)
@given(
    rows=SETS.filter(lambda rows: len(rows) >= 3),
    batch=st.integers(3, 64),
    world=st.integers(2, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_shares_are_disjoint_and_complete(
    rows: list[int], batch: int, world: int, seed: int
) -> None:
    """The last step may be left out: it has too few images for every process."""
    whole = epoch(make(rows, batch), seed)
    if len(whole[-1]) < world:
        whole.pop()
    shares = [epoch(make(rows, batch, (rank, world)), seed) for rank in range(world)]
    assert {len(share) for share in shares} == {len(whole)}
    for step, parts in zip(whole, zip(*shares, strict=True), strict=True):
        assert all(parts)
        assert sorted(row for part in parts for row in part) == sorted(step)


@settings(deadline=None, max_examples=20)
@given(rows=SETS, batch=st.integers(1, 64), world=st.integers(1, 3))
def test_evaluation_goes_through_all_images_in_order(
    rows: list[int], batch: int, world: int
) -> None:
    for rank in range(world):
        found = [
            row
            for images, labels in make(rows, batch, (rank, world)).in_order()
            for row in (labels // 7).tolist()
            if images.shape[1:] == (3, 4, 4)
        ]
        assert found == rows


def test_steps_are_counted_as_they_come() -> None:
    """Schedules rely on the length, also where the last step is left out."""
    for count in range(2, 12):
        batches = make(range(count), 4, (0, 2))
        assert len(epoch(batches, 1)) == len(batches), count
