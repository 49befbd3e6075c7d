"""Importing checkpoints: what is accepted computes the same, what is not is one clear line."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch.nn import functional

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.bundle.storage import Array
from devit_iot.cli.bundle import bundle as command
from devit_iot.decompose.network.models import SubVit
from devit_iot.engine.base import load_engine
from devit_iot.engine.fusion import Fusion
from devit_iot.errors import DataError
from devit_iot.export.beside import Beside
from devit_iot.export.fold import trained_shapes
from devit_iot.export.importer import IMAGENET, ImportOptions, import_checkpoint, infer_spec
from devit_iot.export.names import internal_names

CLASSES = 6
Weights = dict[str, NDArray[np.generic]]


def checkpoint(prefix_tokens: int) -> tuple[SubVitSpec, Weights]:
    blocks = (BlockSpec(1, 20), BlockSpec(2, 12))
    spec = SubVitSpec(28, 32, 7, 24, 8, prefix_tokens, blocks)
    rng = np.random.default_rng(3)
    shapes = dict(trained_shapes(spec))
    for head in ("head", "head_dist")[:prefix_tokens]:
        shapes |= {f"{head}.weight": (CLASSES, 24), f"{head}.bias": (CLASSES,)}
    weights = {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    return spec, dict(weights)


def run_import(path: Path, *options: str, classes: int = CLASSES) -> Result:
    names = path.with_name("names.txt")
    names.write_text("".join(f"class {index}\n" for index in range(classes)))
    arguments = [str(path), "--classes", str(names), "--output", str(path.with_name("bundle"))]
    return CliRunner().invoke(command, ["import", *arguments, "--head-dim", "8", *options])


def unfolded_logits(
    spec: SubVitSpec, weights: Weights, image: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """The network as its authors run it, in float64, two heads averaged."""
    tensors = {name: torch.from_numpy(value.astype(np.float64)) for name, value in weights.items()}
    model = SubVit(spec).double()
    model.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("head")})
    with torch.no_grad():
        tokens = model(torch.from_numpy(scaled(image))).tokens[0]
    heads = ("head", "head_dist")[: spec.prefix_tokens]
    logits = [
        tensors[f"{head}.weight"] @ token + tensors[f"{head}.bias"]
        for head, token in zip(heads, tokens, strict=True)
    ]
    mean: NDArray[np.float64] = torch.stack(logits).mean(dim=0).numpy()
    return mean


def scaled(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    pixels = (image / 255 - np.array(IMAGENET.mean)) / np.array(IMAGENET.std)
    batch: NDArray[np.float64] = pixels.transpose(2, 0, 1)[None].copy()
    return batch


COMPACT_DIM, COMPACT_HEADS = 16, (2, 1)


def compact_checkpoint(kernels: tuple[int, ...], positions: int) -> Weights:
    """A CCT with the names of github.com/SHI-Labs/Compact-Transformers, heads of 8."""
    dim, shapes = COMPACT_DIM, dict[str, tuple[int, ...]]()
    channels = [3, *[5] * (len(kernels) - 1), dim]
    for index, side in enumerate(kernels):
        shape = (channels[index + 1], channels[index], side, side)
        shapes[f"tokenizer.conv_layers.{index}.0.weight"] = shape
    shapes["classifier.positional_emb"] = (1, positions, dim)
    for index, heads in enumerate(COMPACT_HEADS):
        block = f"classifier.blocks.{index}."
        shapes |= {block + "self_attn.qkv.weight": (3 * 8 * heads, dim)}
        linears = {"self_attn.proj": (dim, 8 * heads), "linear1": (20, dim), "linear2": (dim, 20)}
        for name, (rows, columns) in linears.items():
            shapes |= {f"{block}{name}.weight": (rows, columns), f"{block}{name}.bias": (rows,)}
        for name in ("pre_norm", "norm1"):
            shapes |= {f"{block}{name}.weight": (dim,), f"{block}{name}.bias": (dim,)}
    for name, rows in (("attention_pool", 1), ("fc", CLASSES)):
        shapes |= {f"classifier.{name}.weight": (rows, dim), f"classifier.{name}.bias": (rows,)}
    shapes |= {"classifier.norm.weight": (dim,), "classifier.norm.bias": (dim,)}
    rng = np.random.default_rng(5)
    return {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def compact_logits(weights: Weights, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What Compact Transformers compute in evaluation, in float64, by their own names."""
    w = {name: torch.from_numpy(value.astype(np.float64)) for name, value in weights.items()}

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        name = f"classifier.{name}"
        return functional.linear(x, w[name + ".weight"], w.get(name + ".bias"))

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        name = f"classifier.{name}"
        return functional.layer_norm(x, (COMPACT_DIM,), w[name + ".weight"], w[name + ".bias"])

    x, layer = torch.from_numpy(scaled(image)), 0
    while (kernel := w.get(f"tokenizer.conv_layers.{layer}.0.weight")) is not None:
        half = kernel.shape[-1] // 2
        x = functional.conv2d(x, kernel, stride=max(1, half - 1), padding=max(1, half))
        x, layer = functional.max_pool2d(x.relu(), 3, 2, 1), layer + 1
    x = x.flatten(2).transpose(1, 2)[0] + w["classifier.positional_emb"][0]
    for index, heads in enumerate(COMPACT_HEADS):
        block = f"blocks.{index}."
        qkv = linear(block + "self_attn.qkv", norm(block + "pre_norm", x))
        q, k, v = qkv.reshape(len(x), 3, heads, 8).permute(1, 2, 0, 3)
        mixed = (q @ k.transpose(1, 2) * 8**-0.5).softmax(dim=-1) @ v
        x = x + linear(block + "self_attn.proj", mixed.transpose(0, 1).flatten(1))
        x = norm(block + "norm1", x)
        x = x + linear(block + "linear2", functional.gelu(linear(block + "linear1", x)))
    x = norm("norm", x)
    pooled = linear("attention_pool", x).softmax(dim=0).T @ x
    logits: NDArray[np.float64] = linear("fc", pooled)[0].numpy()
    return logits


@pytest.mark.parametrize(
    ("kernels", "size", "inferred"),
    [((3,), 12, 12), ((3,), 11, 12), ((7, 7), 32, 32), ((7, 3), 27, 32), ((5, 3, 3), 16, 16)],
)
def test_round_trip_of_a_cct(
    tmp_path: Path, kernels: tuple[int, ...], size: int, inferred: int
) -> None:
    image = np.random.default_rng(4).integers(0, 256, (size, size, 3), np.uint8)
    grid = size
    for side in kernels:
        half = side // 2
        grid = -(-((grid + 2 * max(1, half) - side) // max(1, half - 1) + 1) // 2)
    weights = compact_checkpoint(kernels, grid**2)
    path = tmp_path / "cct.safetensors"
    save_file(weights, path)
    options = ImportOptions(8, image_size=None if size == inferred else size)
    names = [f"class {index}" for index in range(CLASSES)]
    made = import_checkpoint(path, names, tmp_path / "bundle", name="cct", options=options).bundle
    spec = made.manifest.parts[0].spec
    assert spec.image_size == size
    assert [block.heads for block in spec.blocks] == list(COMPACT_HEADS)
    for engine in ("torch", "native"):
        feature = load_engine(made.read_part(0), name=engine).features(image)
        logits = Fusion(made).logits({0: feature})
        np.testing.assert_allclose(logits, compact_logits(weights, image), atol=1e-4)
    exact = {name: value.astype(np.float64) for name, value in weights.items()}
    assert infer_spec(internal_names(exact), ImportOptions(8), Beside())[0].image_size == inferred


def test_names_of_compact_transformers_are_translated() -> None:
    weights = compact_checkpoint((3, 3), 9)
    ours = internal_names({name: value.astype(np.float64) for name, value in weights.items()})
    spec, _ = infer_spec(ours, ImportOptions(8), Beside())
    assert ours.keys() == trained_shapes(spec).keys() | {"head.weight", "head.bias"}


def test_other_ccts_are_refused(tmp_path: Path) -> None:
    names = [f"class {index}" for index in range(CLASSES)]
    path = tmp_path / "cct.safetensors"

    def refusal(changes: Mapping[str, Array], image_size: int | None = None) -> str:
        save_file({**compact_checkpoint((3,), 36), **changes}, path)
        options = ImportOptions(8, image_size=image_size)
        with pytest.raises(DataError) as caught:
            import_checkpoint(path, names, tmp_path / "bundle", name="cct", options=options)
        return str(caught.value)

    assert "does not fit the 25 tokens" in refusal({}, image_size=10)
    assert "35 rows does not fit" in refusal(
        {"classifier.positional_emb": np.zeros((1, 35, COMPACT_DIM), np.float32)}
    )
    bias = {"tokenizer.conv_layers.0.0.bias": np.zeros(COMPACT_DIM, np.float32)}
    assert "'tokenizer.conv_layers.0.0.bias'" in refusal(bias)
    wide = {"classifier.fc.weight": np.zeros((CLASSES + 1, COMPACT_DIM), np.float32)}
    assert "head has 7 classes, but 6 names" in refusal(wide)


@pytest.mark.parametrize("prefix_tokens", [1, 2])
def test_round_trip(tmp_path: Path, prefix_tokens: int) -> None:
    spec, weights = checkpoint(prefix_tokens)
    path = tmp_path / "vit.safetensors"
    save_file(weights, path)
    result = run_import(path)
    assert result.exit_code == 0, result.output
    made = Bundle(tmp_path / "bundle")
    assert made.manifest.parts[0].spec == spec
    image = np.random.default_rng(4).integers(0, 256, (28, 28, 3), np.uint8)
    feature = load_engine(made.read_part(0), name="torch").features(image)
    logits = Fusion(made).logits({0: feature})
    np.testing.assert_allclose(logits, unfolded_logits(spec, weights, image), atol=1e-4)


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "teacher"])
def test_torch_files_give_the_same_bundle(tmp_path: Path, suffix: str, wrapper: str | None) -> None:
    _, weights = checkpoint(2)
    folder = tmp_path / "other"
    folder.mkdir()
    save_file(weights, tmp_path / "vit.safetensors")
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    content = {wrapper: tensors, "epoch": 3} if wrapper else tensors
    torch.save(content, folder / f"vit{suffix}")
    assert run_import(tmp_path / "vit.safetensors").exit_code == 0
    assert run_import(folder / f"vit{suffix}").exit_code == 0
    assert Bundle(tmp_path / "bundle").fingerprint == Bundle(folder / "bundle").fingerprint


class Bomb:
    """Pickles to a call that creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.target),)


def one_line_error(result: Result) -> str:
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert len(result.output.splitlines()) == 1
    return result.output


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    torch.save({"model": Bomb(tmp_path / "exploded")}, path)
    assert "holds more than plain tensors" in one_line_error(run_import(path))
    assert not (tmp_path / "exploded").exists()


def without(name: str) -> Callable[[Weights], object]:
    return lambda weights: weights.pop(name)


def replaced(name: str, shape: tuple[int, ...]) -> Callable[[Weights], object]:
    return lambda weights: weights.update({name: np.zeros(shape, np.float32)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("pos_embed"), "no tensor 'pos_embed'"),
        (without("head.bias"), "no tensor 'head.bias'"),
        (without("blocks.1.mlp.fc2.weight"), "no tensor 'blocks.1.mlp.fc2.weight'"),
        (without("blocks.0.attn.qkv.weight"), "no tensor 'blocks.0.attn.qkv.weight'"),
        (replaced("blocks.1.ls1.gamma", (23,)), "'blocks.1.ls1.gamma' does not fit"),
        (replaced("norm.weight", (23,)), r"shape (23,), expected (24,)"),
        (replaced("pos_embed", (1, 15, 24)), "15 rows does not fit"),
        (replaced("pos_embed", (1, 1, 24)), "1 rows does not fit"),
        (replaced("pos_embed", (1, 0, 24)), "expected 3 axes"),
        (replaced("patch_embed.proj.weight", (24, 3, 7, 5)), "(24, 3, 7, 5), expected"),
        (replaced("patch_embed.proj.weight", (24, 147)), "expected 4 axes"),
        (replaced("blocks.0.attn.qkv.weight", (25, 24)), "is not Q, K and V"),
        (lambda weights: weights["norm.bias"].fill(np.nan), "'norm.bias' holds NaN"),
        (lambda weights: weights.clear(), "not a ViT or DeiT"),
        (replaced("pool.bias", (1,)), "no part of a plain ViT, DeiT or CCT"),
    ],
)
def test_other_checkpoints_are_refused_in_one_line(
    tmp_path: Path, change: Callable[[Weights], object], message: str
) -> None:
    _, weights = checkpoint(1)
    change(weights)
    save_file(weights, tmp_path / "vit.safetensors")
    assert message in one_line_error(run_import(tmp_path / "vit.safetensors"))
    assert not (tmp_path / "bundle").exists()


def test_other_mistakes_are_refused_in_one_line(tmp_path: Path) -> None:
    _, weights = checkpoint(1)
    path = tmp_path / "vit.safetensors"
    save_file(weights, path)
    assert "6 classes, but 7 names" in one_line_error(run_import(path, classes=7))
    assert "resize_size" in one_line_error(run_import(path, "--resize", "20"))
    assert "must be positive" in one_line_error(
        run_import(path, "--mean", "0", "0", "0", "--std", "0", "1", "1")
    )
    other = tmp_path / "vit.onnx"
    other.write_bytes(b"")
    assert "is empty" in one_line_error(run_import(other))
    path.write_bytes(b"no safetensors file")
    assert "cannot be read" in one_line_error(run_import(path))
    torn = tmp_path / "vit.pth"
    torn.write_bytes(b"no torch file")
    assert "or is damaged" in one_line_error(run_import(torn))
    torch.save([1, 2], torn)
    assert "holds a list" in one_line_error(run_import(torn))
    torch.save({"lr": 1.0}, torn)
    assert "'lr' is not a tensor" in one_line_error(run_import(torn))


def test_safetensors_import_needs_no_torch(tmp_path: Path) -> None:
    _, weights = checkpoint(1)
    path = tmp_path / "vit.safetensors"
    save_file(weights, path)
    (tmp_path / "names.txt").write_text("x\n" * CLASSES)
    script = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'sklearn', 'rich']))\n"
        "from devit_iot.cli.bundle import bundle; bundle()"
    )
    arguments = ["--classes", str(tmp_path / "names.txt"), "--output", str(tmp_path / "out")]
    arguments = ["import", str(path), "--head-dim", "8", *arguments]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True)
    Bundle(tmp_path / "out").verify()
    torch_file = path.with_suffix(".pth")
    torch.save({}, torch_file)
    arguments[1] = str(torch_file)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "pip install 'devit-iot[train]'" in done.stderr


def test_verify_and_info(tmp_path: Path) -> None:
    _, weights = checkpoint(1)
    path = tmp_path / "vit.safetensors"
    save_file(weights, path)
    run_import(path, "--name", "mine")
    folder = str(tmp_path / "bundle")
    verified = CliRunner().invoke(command, ["verify", folder, "--engine", "torch"])
    assert verified.exit_code == 0
    assert "part 0: sound on torch" in verified.output
    shown = CliRunner().invoke(command, ["info", folder])
    assert shown.output.startswith("mine, fingerprint ")
    as_json = CliRunner().invoke(command, ["info", folder, "--json"])
    assert '"macs": [' in as_json.output
    part = tmp_path / "bundle" / "part-0.safetensors"
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    verified = CliRunner().invoke(command, ["verify", folder, "--engine", "torch"])
    assert "copy the bundle again" in one_line_error(verified)
