"""Small fleets with random weights, and images to show them."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import BlockSpec, ConvSpec, FusionSpec, SubVitSpec
from devit_iot.bundle.storage import Storage, as_stored
from devit_iot.bundle.writing import PartData, write_bundle
from devit_iot.errors import InputError
from devit_iot.export.reference import with_golden

CLASSES = ("ant", "bee", "cow", "dog", "eel")


def part_spec(part: int) -> SubVitSpec:
    """Every part has another shape: in turn a ViT, a DeiT and a CCT."""
    dim, cct = 8 + 3 * part, part % 3 == 2
    return SubVitSpec(
        image_size=12,
        resize_size=14,
        patch_size=0 if cct else 4,
        embed_dim=dim,
        head_dim=4,
        prefix_tokens=0 if cct else 1 + part % 3,
        blocks=(BlockSpec(1 + part % 3, 10), BlockSpec(2, 7 + part)),
        tokenizer=(ConvSpec(5, 5, 1, 2), ConvSpec(dim, 3, 1, 1)) if cct else (),
        residual_norm=cct,
    )


def make_bundle(path: Path, *, parts: int = 3, seed: int = 0) -> Bundle:
    """A bundle that computes something, if nothing sensible; CCTs are stored as halves."""
    rng = np.random.default_rng(seed)

    def random(shape: tuple[int, ...]) -> NDArray[np.float32]:
        values: NDArray[np.float32] = rng.standard_normal(shape, np.float32)
        return values / np.float32(shape[-1] ** 0.5)

    data = []
    for part in range(parts):
        spec = part_spec(part)
        tensors = {tensor.name: random(tensor.shape) for tensor in spec.tensors()}
        first = "tokenizer.0.weight" if spec.tokenizer else "patch_embed.weight"
        tensors[first] /= 64  # raw pixels go up to 255
        storage: Storage = "float16" if spec.tokenizer else "float32"
        stored = as_stored(spec, tensors, storage)
        golden = rng.integers(0, 256, (12, 12, 3), np.uint8)
        owned = tuple(range(part, len(CLASSES), parts))
        data.append(PartData(spec, owned, with_golden(spec, stored, golden), storage))
    fusion_spec = FusionSpec(len(CLASSES), tuple(p.spec.feature_dim for p in data))
    fusion = {tensor.name: random(tensor.shape) for tensor in fusion_spec.tensors()}
    return write_bundle(
        path, name="tiny", classes=CLASSES, parts=data, fusion=fusion, provenance={}
    )


def image_file(seed: int, *, kind: str = "PNG", size: tuple[int, int] = (20, 16)) -> bytes:
    """A noise image as a file."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def image_folder(path: Path, count: int) -> Path:
    """``count`` images in class folders under ``path``, the classes in turn."""
    for index in range(count):
        file = path / CLASSES[index % len(CLASSES)] / f"{index:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image_file(index))
    return path


def huge_jpeg() -> bytes:
    """A small JPEG whose header claims 20000 x 20000 pixels."""
    file = bytearray(image_file(0, kind="JPEG"))
    frame = file.index(b"\xff\xc0")  # marker, length, precision, height, width
    file[frame + 5 : frame + 9] = (20000).to_bytes(2, "big") * 2
    return bytes(file)


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Fail unless ``condition`` becomes true; the limit only bounds a broken run."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def reason_of(read: Callable[[bytes], object], payload: bytes) -> str | None:
    """Why ``read`` refuses, None if it does not; any other error escapes."""
    try:
        read(payload)
    except InputError as error:
        return error.reason
    return None
