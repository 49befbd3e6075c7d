"""A checkpoint into a classifier: what fits computes the same, what does not is one clear line."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from devit_iot.bundle.spec import BlockSpec, ConvSpec, SubVitSpec
from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.network.weights import load_checkpoint, resample_patches, resize_positions
from devit_iot.errors import DataError
from devit_iot.export.fold import trained_shapes

CLASSES = 5
BLOCKS = (BlockSpec(3, 10), BlockSpec(2, 7))
VIT = SubVitSpec(16, 16, 4, 12, 4, 1, BLOCKS)
DEIT = msgspec.structs.replace(VIT, prefix_tokens=2)
CCT = SubVitSpec(
    16, 16, 0, 12, 4, 0, BLOCKS, 1e-5, (ConvSpec(6, 3, 1, 1), ConvSpec(12, 3, 1, 1)),
    residual_norm=True,
)  # fmt: skip
ALL = pytest.mark.parametrize("spec", [VIT, DEIT, CCT], ids=["vit", "deit", "cct"])
COMPACT = {
    "pos_embed": "classifier.positional_emb",
    "pool.": "classifier.attention_pool.",
    "norm.": "classifier.norm.",
    "head.": "classifier.fc.",
    "norm1.": "pre_norm.",
    "attn.": "self_attn.",
    "norm2.": "norm1.",
    "mlp.fc1.": "linear1.",
    "mlp.fc2.": "linear2.",
}
Weights = dict[str, Tensor]


def checkpoint(spec: SubVitSpec, classes: int = CLASSES, seed: int = 1) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    shapes = trained_shapes(spec)
    for head in ("head", "head_dist")[: max(1, spec.prefix_tokens)]:
        shapes |= {f"{head}.weight": (classes, spec.embed_dim), f"{head}.bias": (classes,)}
    return {name: torch.randn(s, generator=generator) * 0.3 for name, s in shapes.items()}


def compact(weights: Weights) -> Weights:
    """The names of Compact Transformers, whose ``qkv`` has no bias."""
    renamed = {}
    for name, value in weights.items():
        prefix, rest = "", name
        if name.startswith("blocks."):
            *block, rest = name.split(".", 2)
            prefix = "classifier." + ".".join(block) + "."
        for ours, theirs in COMPACT.items():
            if rest.startswith(ours):
                rest = theirs + rest.removeprefix(ours)
                break
        if name.startswith("tokenizer."):
            rest = f"tokenizer.conv_layers.{name.split('.')[1]}.0.weight"
        if not name.endswith("qkv.bias"):
            renamed[prefix + rest] = value
    return renamed


def save(folder: Path, weights: Weights) -> Path:
    path = folder / "network.safetensors"
    save_file({name: value.contiguous() for name, value in weights.items()}, path)
    return path


def state(model: nn.Module) -> Weights:
    return {name: value.clone() for name, value in model.state_dict().items()}


def load(folder: Path, weights: Weights, spec: SubVitSpec, classes: int = CLASSES) -> Weights:
    model = Classifier(spec, classes)
    load_checkpoint(model, save(folder, weights))
    return state(model)


def assert_equal(found: Weights, wanted: Weights) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


def named(weights: Weights) -> Weights:
    """A checkpoint's tensors by the names of a classifier's parameters."""
    heads = {"head": "heads.0", "head_dist": "heads.1"}
    return {
        f"{heads[name.split('.')[0]]}.{name.split('.')[1]}" if "head" in name else f"vit.{name}": v
        for name, v in weights.items()
    }


@ALL
def test_every_tensor_arrives(tmp_path: Path, spec: SubVitSpec) -> None:
    weights = checkpoint(spec)
    assert_equal(load(tmp_path, weights, spec), named(weights))


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_files_of_torch_and_short_floats(tmp_path: Path, wrapper: str | None) -> None:
    weights = {name: value.half() for name, value in checkpoint(DEIT).items()}
    model, path = Classifier(DEIT, CLASSES), tmp_path / "network.pth"
    torch.save({wrapper: weights, "epoch": 3} if wrapper else weights, path)
    load_checkpoint(model, path)
    assert_equal(state(model), named({name: value.float() for name, value in weights.items()}))


@ALL
def test_other_classes_leave_the_heads_alone(tmp_path: Path, spec: SubVitSpec) -> None:
    weights = checkpoint(spec, classes=CLASSES + 1)
    found = load(tmp_path, weights, spec)
    assert not any(found[name].any() for name in found if name.startswith("heads"))
    without_heads = {name: v for name, v in weights.items() if not name.startswith("head")}
    assert_equal(load(tmp_path, without_heads, spec), found)


def test_what_no_classifier_uses_is_passed_over(tmp_path: Path) -> None:
    weights = checkpoint(VIT)
    more = {"pre_logits.fc.weight": torch.ones(3), "fc_norm.weight": torch.ones(12)}
    assert_equal(load(tmp_path, weights | more, VIT), named(weights))


def test_a_vit_becomes_a_deit_and_a_deit_a_vit(tmp_path: Path) -> None:
    weights = checkpoint(VIT)
    grown = load(tmp_path, weights, DEIT)
    position = weights["pos_embed"]
    twice = torch.cat([position[:, :1], position], dim=1)
    wanted = named(weights) | {"vit.pos_embed": twice, "vit.dist_token": weights["cls_token"]}
    heads = {name: torch.zeros_like(grown[name]) for name in grown if name.startswith("heads.1")}
    assert_equal(grown, wanted | heads)

    weights = checkpoint(DEIT)
    cut = load(tmp_path, weights, VIT)
    position = weights["pos_embed"]
    wanted = named(weights) | {"vit.pos_embed": position[:, [0, *range(2, position.shape[1])]]}
    for name in ("vit.dist_token", "heads.1.weight", "heads.1.bias"):
        del wanted[name]
    assert_equal(cut, wanted)


def test_the_copied_token_computes_what_the_class_token_does(tmp_path: Path) -> None:
    grown = Classifier(DEIT, CLASSES)
    load_checkpoint(grown, save(tmp_path, checkpoint(VIT)))
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        first, second = grown(images).tokens.unbind(1)
    torch.testing.assert_close(first, second)


def test_names_of_compact_transformers(tmp_path: Path) -> None:
    weights = checkpoint(CCT)
    for name in weights:
        if name.endswith("qkv.bias"):
            weights[name].zero_()
    theirs = compact(weights)
    assert "classifier.blocks.1.self_attn.qkv.weight" in theirs
    assert "tokenizer.conv_layers.1.0.weight" in theirs
    assert_equal(load(tmp_path, theirs, CCT), named(weights))


def grow(images: Tensor, size: int) -> Tensor:
    return functional.interpolate(images, (size, size), mode="bicubic")


@pytest.mark.parametrize("small", [4, 8])
def test_a_small_patch_embeds_exactly_as_enlarged(tmp_path: Path, small: int) -> None:
    """A checkpoint of 16 x 16 patches into a network of small ones, and the other way round."""
    large = SubVitSpec(64, 64, 16, 12, 4, 1, BLOCKS)
    fitted = msgspec.structs.replace(
        large, image_size=4 * small, resize_size=4 * small, patch_size=small
    )
    patches = torch.randn(3, 3, small, small, generator=torch.Generator().manual_seed(1))
    for stored, made in ((large, fitted), (fitted, large)):
        weights = checkpoint(stored)
        found = load(tmp_path, weights, made)
        shrunk, enlarged = (weights, found) if stored is fitted else (found, weights)
        little = {name.removeprefix("vit."): value for name, value in shrunk.items()}
        big = {name.removeprefix("vit."): value for name, value in enlarged.items()}
        torch.testing.assert_close(
            functional.conv2d(patches, little["patch_embed.proj.weight"]),
            functional.conv2d(grow(patches, 16), big["patch_embed.proj.weight"]),
            atol=1e-4,
            rtol=1e-4,
        )


@settings(deadline=None, max_examples=30)
@given(old=st.integers(1, 10), new=st.integers(1, 10), seed=st.integers(0, 2**32 - 1))
def test_resampling_is_exact_in_both_directions(old: int, new: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.randn(2, 3, old, old, dtype=torch.float64, generator=generator)
    small = min(old, new)
    patches = torch.randn(2, 3, small, small, dtype=torch.float64, generator=generator)
    resampled = resample_patches(kernel, new)
    assert resampled.shape == (2, 3, new, new)
    torch.testing.assert_close(
        functional.conv2d(grow(patches, old), kernel),
        functional.conv2d(grow(patches, new), resampled),
    )
    if old <= new:  # nothing is lost on the way there and back
        torch.testing.assert_close(resample_patches(resampled, old), kernel)
    if old == new:
        assert torch.equal(resampled, kernel)


@settings(deadline=None, max_examples=30)
@given(
    prefix=st.integers(0, 2),
    old=st.integers(1, 9),
    new=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_positions_are_resized_as_pictures_are(prefix: int, old: int, new: int, seed: int) -> None:
    """Pillow's bicubic filter is another implementation of the same."""
    dim = 3
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(1, prefix + old**2, dim)).astype(np.float32)
    found = resize_positions(torch.from_numpy(rows), prefix, new).numpy()
    assert found.shape == (1, prefix + new**2, dim)
    np.testing.assert_array_equal(found[:, :prefix], rows[:, :prefix])
    for channel in range(dim):
        picture = Image.fromarray(rows[0, prefix:, channel].reshape(old, old))
        wanted = np.asarray(picture.resize((new, new), Image.Resampling.BICUBIC))
        grid = found[0, prefix:, channel].reshape(new, new)
        np.testing.assert_allclose(grid, wanted, atol=1e-5)
    if old == new:
        np.testing.assert_array_equal(found, rows)


@ALL
def test_another_image_size_resizes_the_positions_alone(tmp_path: Path, spec: SubVitSpec) -> None:
    weights = checkpoint(spec)
    larger = msgspec.structs.replace(spec, image_size=24, resize_size=24)
    found = load(tmp_path, weights, larger)
    position = resize_positions(weights["pos_embed"], spec.prefix_tokens, 6)
    assert_equal(found, named(weights) | {"vit.pos_embed": position})


@pytest.mark.parametrize("rows", [1, 2, 13])
def test_positions_that_form_no_square_are_refused(rows: int) -> None:
    with pytest.raises(DataError, match=f"pos_embed of {rows} rows does not fit a square"):
        resize_positions(torch.zeros(1, rows, 3), 2, 4)


def without(name: str) -> Callable[[Weights], object]:
    return lambda weights: weights.pop(name)


def with_shape(name: str, *shape: int) -> Callable[[Weights], object]:
    return lambda weights: weights.update({name: torch.zeros(shape)})


def with_number(name: str, number: float) -> Callable[[Weights], object]:
    return lambda weights: weights[name].view(-1)[1:2].fill_(number)


QKV = "blocks.1.attn.qkv.weight"
PATCHES = "patch_embed.proj.weight"
REFUSED: list[tuple[Callable[[Weights], object], str, str]] = [
    (without("pos_embed"), "pos_embed", "no tensor"),
    (without(QKV), QKV, "no tensor"),
    (without("norm.bias"), "norm.bias", "no tensor"),
    (without(PATCHES), PATCHES, "no tensor"),
    (without("cls_token"), "cls_token", "no tensor"),
    (with_shape("blocks.2.norm1.weight", 12), "blocks.2.norm1.weight", "no part of the model"),
    (with_shape("blocks.0.ls1.gamma", 13), "blocks.0.ls1.gamma", "does not fit"),
    (with_shape("tokenizer.0.weight", 3), "tokenizer.0.weight", "no part of the model"),
    (with_shape(QKV, 24, 11), QKV, r"shape \(24, 11\), the recipe's model has \(24, 12\)"),
    (with_shape("norm.weight", 13), "norm.weight", "shape"),
    (with_shape("cls_token", 12), "cls_token", "shape"),
    (with_shape("pos_embed", 1, 17, 13), "pos_embed", "shape"),
    (with_shape("pos_embed", 1, 15, 12), "pos_embed", "square"),
    (with_shape("pos_embed", 17, 12), "pos_embed", ""),
    (with_shape("pos_embed", 17), "pos_embed", ""),
    (with_shape("pos_embed", 1, 10, 12, 1), "pos_embed", ""),
    (with_shape("pos_embed"), "pos_embed", ""),
    (with_shape(PATCHES, 12, 48), PATCHES, ""),
    (with_shape(PATCHES, 12, 3, 5, 7), PATCHES, ""),
    (with_shape(PATCHES, 12, 3, 0, 0), PATCHES, ""),
    (with_shape(PATCHES), PATCHES, ""),
    (with_shape(PATCHES, 12, 4, 8, 8), PATCHES, "shape"),
    (with_number(QKV, np.nan), QKV, "holds NaN or infinity"),
    (with_number("pos_embed", np.inf), "pos_embed", "holds NaN or infinity"),
    (with_number(PATCHES, -np.inf), PATCHES, "holds NaN or infinity"),
]


def refusal(model: Classifier, path: Path) -> str:
    before = state(model)
    with pytest.raises(DataError) as caught:
        load_checkpoint(model, path)
    assert_equal(state(model), before)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    ("change", "name", "message"),
    REFUSED,
    ids=[f"{name}-{i}" for i, (_, name, _) in enumerate(REFUSED)],
)
def test_other_checkpoints_are_refused(
    tmp_path: Path, change: Callable[[Weights], object], name: str, message: str
) -> None:
    weights = checkpoint(VIT)
    change(weights)
    found = refusal(Classifier(VIT, CLASSES), save(tmp_path, weights))
    assert name in found
    assert re.search(message, found)


def test_a_head_of_nan_is_refused(tmp_path: Path) -> None:
    weights = checkpoint(VIT)
    weights["head.bias"].fill_(np.nan)
    assert "NaN" in refusal(Classifier(VIT, CLASSES), save(tmp_path, weights))


def test_numbers_beyond_float32_are_refused(tmp_path: Path) -> None:
    weights = checkpoint(VIT) | {"norm.bias": torch.full((12,), 1e300, dtype=torch.float64)}
    assert "norm.bias" in refusal(Classifier(VIT, CLASSES), save(tmp_path, weights))


@pytest.mark.parametrize("shape", [(), (12,), (24, 0), (24, 12, 1)], ids=str)
def test_a_damaged_compact_transformer_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    weights = compact(checkpoint(CCT))
    name = "classifier.blocks.1.self_attn.qkv.weight"
    weights[name] = torch.zeros(shape)
    assert "attn.qkv" in refusal(Classifier(CCT, CLASSES), save(tmp_path, weights))


def test_other_kinds_of_network_are_refused(tmp_path: Path) -> None:
    for stored, wanted in ((VIT, CCT), (CCT, VIT), (CCT, DEIT)):
        path = save(tmp_path, checkpoint(stored))
        refusal(Classifier(wanted, CLASSES), path)


class Bomb:
    """Pickles to a call that creates a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
@pytest.mark.parametrize("place", ["model", "cls_token"])
def test_code_in_a_pickle_is_never_run(tmp_path: Path, place: str, suffix: str) -> None:
    path = tmp_path / f"bomb{suffix}"
    torch.save(checkpoint(VIT) | {place: Bomb(tmp_path / "exploded")}, path)
    assert "holds more than plain tensors" in refusal(Classifier(VIT, CLASSES), path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".onnx"])
@pytest.mark.parametrize("content", [b"", b"no network", None], ids=["empty", "text", "absent"])
def test_other_files_are_refused(tmp_path: Path, content: bytes | None, suffix: str) -> None:
    path = tmp_path / f"network{suffix}"
    if content is not None:
        path.write_bytes(content)
    refusal(Classifier(VIT, CLASSES), path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, checkpoint(VIT))
    path.write_bytes(path.read_bytes()[:-4])
    assert "cannot be read" in refusal(Classifier(VIT, CLASSES), path)
