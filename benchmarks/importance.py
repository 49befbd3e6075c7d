"""Rank all heads and neurons of a DeiT-Small on 256 images; print the seconds.

python benchmarks/importance.py
"""

import time

import torch

from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.shrinking.importance import rank

DEIT_SMALL = SubVitSpec(
    image_size=224,
    resize_size=256,
    patch_size=16,
    embed_dim=384,
    head_dim=64,
    prefix_tokens=1,
    blocks=(BlockSpec(6, 1536),) * 12,
)
IMAGES = 256


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Classifier(DEIT_SMALL, 100).to(device).eval()
    for parameter in model.heads.parameters():
        torch.nn.init.normal_(parameter)
    images = torch.randn(IMAGES, 3, 224, 224)

    begin = time.perf_counter()
    with torch.no_grad():
        for first in range(0, IMAGES, 16):
            model(images[first : first + 16].to(device)).logits.cpu()
    forward = time.perf_counter() - begin

    begin = time.perf_counter()
    rank(model, images)
    total = time.perf_counter() - begin
    print(f"DeiT-Small, {IMAGES} images, {device}, {torch.get_num_threads()} threads")
    print(f"forward pass {forward:6.1f} s")
    print(f"ranking      {total:6.1f} s, {total - forward:.1f} s beyond the forward pass")


if __name__ == "__main__":
    main()
