"""Random changes of training images, by kornia: on the device that trains, a batch at a time."""

import warnings

import torch
from torch import Tensor, nn

from devit_iot.decompose.fold import Normalisation
from devit_iot.decompose.recipe import AugmentConfig

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
        """The centre of the images, as it is: uint8[batch, 3, size, size] -> float32 likewise."""
        low = (images.shape[-1] - self._image_size) // 2
        inside = slice(low, low + self._image_size)
        return (images[..., inside, inside].float() / 255 - self.mean) / self.std


def _changes(config: AugmentConfig, image_size: int) -> list[nn.Module]:
    size = (image_size, image_size)
    changes: list[nn.Module] = []
    if config.resized_crop:
        changes.append(kornia.RandomResizedCrop(size, scale=(config.resized_crop, 1.0)))
    else:  # decoded images may be larger than what the network takes
        padding = config.pad_crop or None
        changes.append(kornia.RandomCrop(size, padding=padding, padding_mode="replicate"))
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
    if config.flip:
        changes.append(kornia.RandomHorizontalFlip(p=config.flip))
    return changes


def _mixes(config: AugmentConfig) -> list[tuple[nn.Module, float]]:
    """Mixing operations and their probabilities, per batch."""
    keys = ["input", "class"]
    return [
        (kornia.RandomMixUpV2(p=1.0, data_keys=keys), config.mixup),
        (kornia.RandomCutMixV2(p=1.0, data_keys=keys, use_correct_lambda=True), config.cutmix),
    ]
