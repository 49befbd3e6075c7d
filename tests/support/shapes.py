"""One small network of each kind, with random weights."""

import msgspec
import torch
from torch import Tensor, nn

from devit_iot.bundle.spec import BlockSpec, ConvSpec, SubVitSpec
from devit_iot.decompose.network.models import Classifier

VIT = SubVitSpec(
    image_size=32,
    resize_size=32,
    patch_size=8,
    embed_dim=24,
    head_dim=8,
    prefix_tokens=1,
    blocks=(BlockSpec(3, 20), BlockSpec(2, 16), BlockSpec(4, 12)),
)
DEIT = msgspec.structs.replace(VIT, prefix_tokens=2)
CCT = msgspec.structs.replace(
    VIT,
    patch_size=0,
    prefix_tokens=0,
    tokenizer=(ConvSpec(6, 3, 1, 1), ConvSpec(24, 3, 1, 1)),
    residual_norm=True,
)


def random_model(spec: SubVitSpec, dtype: torch.dtype = torch.float64) -> Classifier:
    generator = torch.Generator().manual_seed(7)
    model = Classifier(spec, 5).to(dtype).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return model


def random_images(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(3, 3, 32, 32, dtype=dtype, generator=torch.Generator().manual_seed(8))
