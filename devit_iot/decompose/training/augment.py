"""Random changes of training images, by kornia: on the device that trains, a batch at a time."""

import warnings

import torch
from torch import Tensor, nn

from devit_iot.decompose.recipe import AugmentConfig
from devit_iot.export.fold import Normalisation

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for packages that only its ONNX export needs
    import kornia.augmentation as kornia
    from kornia.augmentation.auto import RandAugment

_OPERATION_BATCH = 8
"""Images that share a draw of RandAugment's operations: kornia draws them once per call."""


class Augment(nn.Module):
    """uint8 images and labels -> normalised, changed images and labels.

    Args:
        config: what is changed.
        normalisation: the one that export folds into the first layer.
        image_size: side of the images that come out, pixels.
        mix: whether mixup and cutmix may be used.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, config: AugmentConfig, normalisation: Normalisation, image_size: int, *, mix: bool
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(normalisation.std).view(3, 1, 1))
        self._image_size = image_size
        self._padding = config.pad_crop
        self._flip = config.flip
        self._crops = not config.resized_crop
        self._changes = nn.ModuleList(_changes(config, image_size))
        self._operations = RandAugment(n=2, m=config.rand_augment) if config.rand_augment else None
        self._erasing = kornia.RandomErasing(p=config.erasing) if config.erasing else None
        self._mixes = _mixes(config) if mix else []

    @torch.no_grad()
    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Change a batch.

        Args:
            images: uint8[batch, 3, size, size].
            labels: int64[batch].

        Returns:
            float32[batch, 3, image_size, image_size]; and the labels, or float32[batch, 3] where
            images were mixed: both labels and the second's share.
        """
        if self._crops:
            images = _cut(images, self._image_size, self._padding, self._flip)
        changed = images.float() / 255
        for change in self._changes:
            changed = change(changed)
        if self._operations is not None:
            few = torch.split(changed, _OPERATION_BATCH)
            changed = torch.cat([self._operations(images) for images in few])
        changed = (changed - self.mean) / self.std
        if self._erasing is not None:
            changed = self._erasing(changed)
        draw = float(torch.rand(()))
        for mix, probability in self._mixes:
            if draw < probability:
                mixed, shares = mix(changed, labels)
                first, second, share = shares.reshape(-1, 3).unbind(1)
                if isinstance(mix, kornia.RandomCutMixV2):  # it gives the first label's share
                    share = 1 - share
                return mixed, torch.stack([first, second, share], dim=1)
            draw -= probability
        return changed, labels

    def normalise(self, images: Tensor) -> Tensor:
        """Cut out the centre of the images, without random changes, and normalise it.

        Args:
            images: uint8[batch, 3, size, size].

        Returns:
            float32[batch, 3, image_size, image_size].
        """
        low = (images.shape[-1] - self._image_size) // 2
        inside = slice(low, low + self._image_size)
        return (images[..., inside, inside].float() / 255 - self.mean) / self.std


def _changes(config: AugmentConfig, image_size: int) -> list[nn.Module]:
    """What kornia does to the images after :func:`_cut`, or from the beginning."""
    changes: list[nn.Module] = []
    if config.resized_crop:
        size = (image_size, image_size)
        changes.append(kornia.RandomResizedCrop(size, scale=(config.resized_crop, 1.0)))
        if config.flip:
            changes.append(kornia.RandomHorizontalFlip(p=config.flip))
    if config.rotate_deg or config.scale or config.shift:
        changes.append(
            kornia.RandomAffine(
                config.rotate_deg,
                (config.shift, config.shift),
                (1 - config.scale, 1 + config.scale),
                padding_mode="border",
                p=1.0,
            )
        )
    return changes


def _cut(images: Tensor, size: int, padding: int, flip: float) -> Tensor:
    """A square of each image, anywhere in it or beyond its edge; some are mirrored.

    Bytes are gathered once: kornia's crop and flip of float images take many times as long.

    Args:
        images: uint8[batch, 3, side, side], best as a view of [batch, side, side, 3].
        size: side of what is cut out, pixels.
        padding: pixels by which the images' edges are repeated outwards.
        flip: probability of a mirror image.

    Returns:
        uint8[batch, 3, size, size].
    """
    count, side, device = len(images), images.shape[-1], images.device
    room = side + 2 * padding - size + 1
    corners = torch.randint(room, (2, count, 1), device=device) - padding
    along = torch.arange(size, device=device)
    rows = (corners[0] + along).clamp(0, side - 1)
    columns = (corners[1] + along).clamp(0, side - 1)
    mirrored = torch.rand(count, 1, device=device) < flip
    columns = torch.where(mirrored, columns.flip(1), columns)
    image = torch.arange(count, device=device)[:, None, None]
    cut = images.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2)


def _mixes(config: AugmentConfig) -> list[tuple[nn.Module, float]]:
    """Mixing operations and their probabilities, per batch."""
    keys = ["input", "class"]
    return [
        (kornia.RandomMixUpV2(p=1.0, data_keys=keys), config.mixup),
        (kornia.RandomCutMixV2(p=1.0, data_keys=keys, use_correct_lambda=True), config.cutmix),
    ]
