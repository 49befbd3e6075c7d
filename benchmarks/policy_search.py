"""Shrink a DeiT-Tiny without retraining: random search against evolution, evaluations alike.

python benchmarks/policy_search.py DATA [EVALUATIONS] [SEARCH_IMAGES]

DATA holds deit-tiny/deit_tiny_patch16_224.safetensors and imagenet-samples/ (labels.csv, jpeg/).
Half of the 200 images rank, SEARCH_IMAGES of these search, the other half report.
"""

import csv
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from devit_iot.bundle.spec import BlockSpec, SubVitSpec, macs
from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.network.weights import load_checkpoint
from devit_iot.decompose.shrinking.compensate import measure
from devit_iot.decompose.shrinking.heldout import HeldOut
from devit_iot.decompose.shrinking.importance import rank
from devit_iot.decompose.shrinking.search import METHODS, search

DEIT_TINY = SubVitSpec(
    image_size=224,
    resize_size=256,
    patch_size=16,
    embed_dim=192,
    head_dim=64,
    prefix_tokens=1,
    blocks=(BlockSpec(3, 768),) * 12,
)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def read_samples(folder: Path) -> tuple[Tensor, Tensor]:
    """Normalised pixels float32[n, 3, 224, 224] and class indices int64[n]."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    pixels = np.stack([crop(folder / "jpeg" / row["file"]) for row in rows])
    images = (torch.from_numpy(pixels) / 255 - torch.tensor(MEAN)) / torch.tensor(DEVIATION)
    labels = torch.tensor([int(row["class_index"]) for row in rows])
    return images.permute(0, 3, 1, 2).contiguous(), labels


def crop(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The 224 pixels in the centre of the image, its short side resized to 256."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    scale = 256 / min(rgb.size)
    width, height = round(rgb.width * scale), round(rgb.height * scale)
    left, top = (width - 224) // 2, (height - 224) // 2
    resized = rgb.resize((width, height), Image.Resampling.BICUBIC)
    return np.array(resized.crop((left, top, left + 224, top + 224)))


def report(name: str, scores: Tensor, whole: Tensor, labels: Tensor, extra: str = "") -> None:
    top1 = 100 * float((scores.argmax(dim=1) == labels).double().mean())
    entropy = float(functional.cross_entropy(scores, labels))
    logs, wanted = scores.log_softmax(dim=1), whole.log_softmax(dim=1)
    far = float(functional.kl_div(logs, wanted, reduction="batchmean", log_target=True))
    print(f"{name:<20} {top1:6.1f} {entropy:6.3f} {far:6.3f} {extra}", flush=True)


def main() -> None:
    data = Path(sys.argv[1])
    evaluations = int(sys.argv[2]) if len(sys.argv) > 2 else 100  # noqa: PLR2004
    model = Classifier(DEIT_TINY, 1000).eval()
    load_checkpoint(model, data / "deit-tiny" / "deit_tiny_patch16_224.safetensors")
    images, labels = read_samples(data / "imagenet-samples")
    order = np.random.default_rng(0).permutation(len(images))
    seen, unseen = torch.from_numpy(order).chunk(2)
    searched = int(sys.argv[3]) if len(sys.argv) > 3 else len(seen)  # noqa: PLR2004

    importance, moments = rank(model, images[seen]), measure(model, images[seen])
    print("MACs   search          top-1     CE     KL  KL on search images, heads/neurons, seconds")
    for compensation in (None, moments):
        train = HeldOut(model, images[seen[:searched]], moments=compensation)
        test = HeldOut(model, images[unseen], moments=compensation)
        print("refitted by least squares:" if compensation else "cut alone:")
        report("100 %", test.whole, test.whole, labels[unseen])
        for ratio, method in product((0.7, 0.5), METHODS):
            begin = time.perf_counter()
            found = search(
                DEIT_TINY, importance, train, ratio=ratio, method=method, evaluations=evaluations
            )
            seconds = time.perf_counter() - begin
            small = found.policy.shrink(DEIT_TINY)
            name = f"{100 * macs(small) / macs(DEIT_TINY):.1f} % {method}"
            shape = " ".join(f"{block.heads}/{block.mlp_dim}" for block in small.blocks)
            extra = f"{found.loss:.3f}, {shape}, {seconds:.0f}"
            report(name, test.scores(found.policy), test.whole, labels[unseen], extra)


if __name__ == "__main__":
    main()
