"""Importing checkpoints: what is accepted computes the same, what is not is one clear line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from safetensors.numpy import save_file

from devit_iot.bundle import Bundle
from devit_iot.cli.bundle import bundle as command
from devit_iot.decompose.fold import trained_shapes
from devit_iot.decompose.importer import IMAGENET
from devit_iot.decompose.models import SubVit
from devit_iot.engine.base import load_engine
from devit_iot.engine.fusion import Fusion
from devit_iot.spec import BlockSpec, SubVitSpec

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
    scaled = (image / 255 - np.array(IMAGENET.mean)) / np.array(IMAGENET.std)
    with torch.no_grad():
        prefix = model(torch.from_numpy(scaled.transpose(2, 0, 1)[None].copy())).prefix[0]
    heads = ("head", "head_dist")[: spec.prefix_tokens]
    logits = [
        tensors[f"{head}.weight"] @ token + tensors[f"{head}.bias"]
        for head, token in zip(heads, prefix, strict=True)
    ]
    mean: NDArray[np.float64] = torch.stack(logits).mean(dim=0).numpy()
    return mean


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
    feature = load_engine(made, 0, name="torch").features(image)
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
        (replaced("blocks.1.ls1.gamma", (24,)), "'blocks.1.ls1.gamma'"),
        (replaced("norm.weight", (23,)), r"shape (23,), expected (24,)"),
        (replaced("pos_embed", (1, 16, 24)), "16 rows does not fit"),
        (replaced("pos_embed", (1, 1, 24)), "1 rows does not fit"),
        (replaced("pos_embed", (1, 0, 24)), "expected 3 axes"),
        (replaced("patch_embed.proj.weight", (24, 3, 7, 5)), "(24, 3, 7, 5), expected"),
        (replaced("patch_embed.proj.weight", (24, 147)), "expected 4 axes"),
        (replaced("blocks.0.attn.qkv.weight", (25, 24)), "right --head-dim"),
        (lambda weights: weights["norm.bias"].fill(np.nan), "'norm.bias' holds NaN"),
        (lambda weights: weights.clear(), "not a ViT or DeiT"),
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
    assert "must be positive" in one_line_error(run_import(path, "--std", "0", "1", "1"))
    other = tmp_path / "vit.onnx"
    other.write_bytes(b"")
    assert "'.onnx' is not one of" in one_line_error(run_import(other))
    path.write_bytes(b"no safetensors file")
    assert "cannot be read" in one_line_error(run_import(path))
    torn = tmp_path / "vit.pth"
    torn.write_bytes(b"no torch file")
    assert "is damaged" in one_line_error(run_import(torn))
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
