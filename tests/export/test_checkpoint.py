"""Weights as people have them: other names, wrappers, types and places; and files that are none."""

import argparse
import json
import pathlib
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from devit_iot.errors import DataError
from devit_iot.export.checkpoint import read_checkpoint
from devit_iot.export.network import read_network
from tests.support.spellings import State, hugging_face, prefixed, timm, torchvision


def tensors(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in state.items()}


def same(path: Path, wanted: State, *, tolerance: float = 0.0) -> tuple[str, ...]:
    """Check that ``path`` holds ``wanted``; what was said about it."""
    network = read_network(path)
    assert network.tensors.keys() == wanted.keys()
    for name, value in network.tensors.items():
        assert value.dtype == np.float64
        np.testing.assert_allclose(
            value, wanted[name], rtol=tolerance, atol=tolerance, err_msg=name
        )
    return network.notes


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_network(path)
    said = str(caught.value)
    assert "\n" not in said
    assert "\x1b" not in said
    for advice in ("weights_only", "arbitrary code", "trust the source"):
        assert advice not in said
    return said


def put_before(prefix: str) -> Callable[[State], State]:
    return lambda state: prefixed(state, prefix)


SPELLINGS: dict[str, Callable[[State], State]] = {
    **{
        prefix: put_before(prefix)
        for prefix in ("module.", "model.", "backbone.", "_orig_mod.", "encoder.", "net.",
                       "module.backbone.", "_orig_mod.module.", "student.backbone.")
    },
    "head beside": lambda state: {
        name if name.startswith("head") else f"backbone.{name}": v for name, v in state.items()
    },
    "Hugging Face": hugging_face,
    "Hugging Face, new": lambda state: hugging_face(state, new=True),
    "Hugging Face, wrapped": lambda state: prefixed(hugging_face(state), "model."),
    "Hugging Face, with a pooler": lambda state: {
        **hugging_face(state), "vit.pooler.dense.weight": np.zeros((24, 24), np.float32),
        "vit.embeddings.mask_token": np.zeros((1, 1, 24), np.float32),
    },
    "torchvision": torchvision,
    "torchvision, old": lambda state: torchvision(state, old=True),
    "torchvision, parallel": lambda state: prefixed(torchvision(state), "module."),
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_projects_names_give_the_same_tensors(tmp_path: Path, spelling: str) -> None:
    theirs = SPELLINGS[spelling](timm())
    body_only = spelling.startswith("Hugging Face, with")
    save_file(theirs, tmp_path / "x.safetensors")
    assert not body_only or "vit.pooler.dense.weight" in theirs
    same(tmp_path / "x.safetensors", timm())


@pytest.mark.parametrize("new", [False, True])
def test_a_deit_of_hugging_face_has_two_heads(tmp_path: Path, new: bool) -> None:  # noqa: FBT001
    save_file(hugging_face(timm(2), body="deit.", new=new), tmp_path / "x.safetensors")
    same(tmp_path / "x.safetensors", timm(2))


def test_two_networks_in_one_file_are_refused(tmp_path: Path) -> None:
    both = {**prefixed(timm(), "base_encoder."), **prefixed(timm(), "momentum_encoder.")}
    save_file(both, tmp_path / "x.safetensors")
    said = refusal(tmp_path / "x.safetensors")
    assert "it holds 2 networks, 'base_encoder.*' and 'momentum_encoder.*'" in said


def test_a_key_without_its_query_is_refused(tmp_path: Path) -> None:
    state = hugging_face(timm())
    del state["vit.encoder.layer.1.attention.attention.value.bias"]
    save_file(state, tmp_path / "x.safetensors")
    assert "'blocks.1' lacks queries, keys or values" in refusal(tmp_path / "x.safetensors")


Namespace = argparse.Namespace(lr=5e-4, output_dir=pathlib.PosixPath("out"), epochs=300)
WRAPPED: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "bare": lambda state: state,
    "pytorch's example": lambda state: {"epoch": 9, "state_dict": state, "optimizer": {}},
    "deit": lambda state: {"model": state, "args": Namespace, "epoch": 299, "scaler": {}},
    "tutorial": lambda state: {"model_state_dict": state, "optimizer_state_dict": {}, "loss": 0.3},
    "kuangliu": lambda state: {"net": state, "acc": 91.0},
    "average only": lambda state: {"state_dict_ema": state},
    "numpy scalar": lambda state: {"state_dict": state, "best": np.float64(72.2)},
    "nested": lambda state: {"state_dict": {"model": state}},
    "lightning": lambda state: {
        "state_dict": {f"model.{name}": value for name, value in state.items()},
        "hyper_parameters": {"lr": 1e-3},
    },
    "parameters": lambda state: {n: torch.nn.Parameter(v) for n, v in state.items()},
    "strided": lambda state: {
        n: v.t().contiguous().t() if v.ndim == 2 else v for n, v in state.items()
    },
    "float64": lambda state: {n: v.double() for n, v in state.items()},
    "sparse": lambda state: {**state, "head.weight": state["head.weight"].to_sparse()},
    "counters": lambda state: {**state, "blocks.0.counter": torch.zeros(2, dtype=torch.int64)},
}


@pytest.mark.parametrize("name", ["x.pth", "x.bin", "x.ckpt", "x.pth.tar", "X.PTH", "weights"])
@pytest.mark.parametrize("wrapped", WRAPPED)
def test_wrappers_of_training_scripts_whatever_the_file_is_called(
    tmp_path: Path, wrapped: str, name: str
) -> None:
    torch.save(WRAPPED[wrapped](tensors(timm())), tmp_path / name)
    same(tmp_path / name, timm())


def test_the_format_before_torch_1_6(tmp_path: Path) -> None:
    torch.save(tensors(timm()), tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    same(tmp_path / "x.pth", timm())


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.bfloat16, 8e-3), (torch.float16, 1e-3)])
def test_halves(tmp_path: Path, kind: torch.dtype, tolerance: float) -> None:
    halves = {name: value.to(kind) for name, value in tensors(timm()).items()}
    save_torch_file(halves, tmp_path / "x.safetensors")
    torch.save(halves, tmp_path / "x.pth")
    for name in ("x.safetensors", "x.pth"):
        same(tmp_path / name, timm(), tolerance=tolerance)
    one, two = (read_network(tmp_path / name).tensors for name in ("x.safetensors", "x.pth"))
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name])


@pytest.mark.parametrize(
    ("raw", "average"),
    [("state_dict", "state_dict_ema"), ("model", "model_ema"), ("model", "ema")],
)
def test_of_two_sets_the_average_is_taken_and_said(tmp_path: Path, raw: str, average: str) -> None:
    noisy = {name: value + 1 for name, value in timm().items()}
    torch.save({raw: tensors(noisy), average: tensors(timm()), "epoch": 9}, tmp_path / "x.pth")
    (note,) = same(tmp_path / "x.pth", timm())
    assert f"'{average}' was taken" in note
    last = read_checkpoint(tmp_path / "x.pth", "raw")
    np.testing.assert_array_equal(last.tensors["norm.bias"], noisy["norm.bias"])
    assert f"'{raw}' was taken" in last.notes[0]


def test_folders_and_shards(tmp_path: Path) -> None:
    state, names = timm(), sorted(timm())
    folder = tmp_path / "folder"
    folder.mkdir()
    for number, some in enumerate((names[:9], names[9:]), start=1):
        save_file(
            {name: state[name] for name in some},
            folder / f"model-0000{number}-of-00002.safetensors",
        )
    index = folder / "model.safetensors.index.json"
    mapped = {n: f"model-0000{1 + (n in names[9:])}-of-00002.safetensors" for n in names}
    index.write_text(json.dumps({"metadata": {}, "weight_map": mapped}))
    for path in (folder, index, folder / "model-00002-of-00002.safetensors"):
        assert same(path, state) == ("it was read from 2 files",)
    mapped[names[0]] = "../elsewhere.safetensors"
    index.write_text(json.dumps({"weight_map": mapped}))
    assert "which is not a file beside it" in refusal(folder)
    mapped[names[0]] = "model-00003-of-00002.safetensors"
    index.write_text(json.dumps({"weight_map": mapped}))
    assert "model-00003-of-00002.safetensors, which is not there" in refusal(folder)
    index.write_text(json.dumps({"weight_map": {**dict.fromkeys(names[:9], "model-00001-of-00002"
                     ".safetensors"), "more": "model-00001-of-00002.safetensors"}}))  # fmt: skip
    assert "'more' is in none of its files" in refusal(folder)
    index.write_text("[]")
    assert "is no index of weights" in refusal(folder)
    save_file(state, folder / "model.safetensors")  # wins over an index
    assert same(folder, state) == ()


def test_a_folder_without_weights_says_what_it_looked_for(tmp_path: Path) -> None:
    assert "holds none of model.safetensors, " in refusal(tmp_path)
    assert "is not a file" in refusal(tmp_path / "nowhere")


class Foreign:
    """A class of somebody's training script."""


def cut(path: Path) -> None:
    torch.save(tensors(timm()), path)
    path.write_bytes(path.read_bytes()[:-900])


NO_WEIGHTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "lfs": (
        lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:5c\n"),
        "is a pointer of Git LFS",
    ),
    "html": (lambda p: p.write_text("<!DOCTYPE html><html></html>"), "is a web page"),
    "xml": (lambda p: p.write_text("\n <?xml version='1.0'?><Error/>"), "is an XML file"),
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "gzip": (lambda p: p.write_bytes(b"\x1f\x8b\x08" + bytes(20)), "is packed by gzip"),
    "keras": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(20)), "is a file of HDF5"),
    "tflite": (lambda p: p.write_bytes(b"\x20\0\0\0TFL3" + bytes(20)), "of TensorFlow Lite"),
    "onnx": (lambda p: p.write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(20)), "of ONNX"),
    "json": (lambda p: p.write_text('{"model_type": "vit"}'), "is a text file of JSON"),
    "noise": (lambda p: p.write_bytes(b"noise" * 9), "neither a safetensors file nor one of"),
    "script": (
        lambda p: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(p)),
        "is a TorchScript program",
    ),
    "module": (
        lambda p: torch.save(torch.nn.Linear(2, 2), p),
        "holds more than plain tensors (torch.nn.modules.linear.Linear)",
    ),
    "foreign": (
        lambda p: torch.save({"state_dict": tensors(timm()), "args": Foreign()}, p),
        "holds more than plain tensors (tests.export.test_checkpoint.Foreign)",
    ),
    "meta": (
        lambda p: torch.save({"x": torch.empty(2, device="meta")}, p),
        "'x' has a shape but no numbers",
    ),
    "list": (lambda p: torch.save([1, 2], p), "holds a list, not tensors by name"),
    "cut": (
        cut,
        "is damaged, or no file of PyTorch's",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_WEIGHTS)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_no_weights_is_named(tmp_path: Path, kind: str, suffix: str) -> None:
    write, message = NO_WEIGHTS[kind]
    path = tmp_path / f"x{suffix}"
    write(path)
    assert message in refusal(path)


VARIANTS: dict[str, Callable[[State], State]] = {
    "no bias": lambda state: {n: v for n, v in state.items() if not n.endswith("qkv.bias")},
    "timm's layer scale": lambda state: scaled(state, "ls1.gamma", "ls2.gamma"),
    "deit's layer scale": lambda state: scaled(state, "gamma_1", "gamma_2"),
    "positions of patches": lambda state: {**state, "pos_embed": state["pos_embed"][:, 1:]},
}


def scaled(state: State, one: str, two: str) -> State:
    """The same function with a scale behind each layer and weights that make up for it."""
    rng = np.random.default_rng(5)
    changed = dict(state)
    for block in range(2):
        for name, layer in ((one, "attn.proj"), (two, "mlp.fc2")):
            gamma = rng.uniform(0.5, 1, 24).astype(np.float32)
            weight, bias = f"blocks.{block}.{layer}.weight", f"blocks.{block}.{layer}.bias"
            changed[weight] = state[weight] / gamma[:, None]
            changed[bias] = state[bias] / gamma
            changed[f"blocks.{block}.{name}"] = gamma
    return changed


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_are_multiplied_out_exactly(tmp_path: Path, variant: str) -> None:
    state = timm()
    if variant == "no bias":
        state |= {n: v * 0 for n, v in state.items() if n.endswith("qkv.bias")}
    if variant == "positions of patches":
        state["pos_embed"][:, :1] = 0
    save_file(
        {n: np.ascontiguousarray(v) for n, v in VARIANTS[variant](state).items()},
        tmp_path / "x.safetensors",
    )
    notes = same(tmp_path / "x.safetensors", state, tolerance=1e-6)
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("fc_norm.weight", "averages all its tokens"),
        ("reg_token", "has register tokens"),
        ("norm_pre.weight", "before the first block"),
        ("blocks.0.mlp.w12.weight", "SwiGLU"),
        ("blocks.0.attn.q_norm.weight", "qk_norm"),
        ("blocks.0.attn.relative_position_bias_table", "relative positions"),
        ("blocks.0.attn.q_bias", "BEiT"),
        ("attn_pool.q.weight", "pools its tokens"),
        ("blocks.0.attn.proj_l.weight", "mixes its attention heads"),
        ("blocks.0.attn.gating_param", "a ConViT"),
    ],
)
def test_variants_that_engines_do_not_compute_are_named(
    tmp_path: Path, name: str, meaning: str
) -> None:
    state = timm()
    state[name] = np.zeros(3, np.float32)
    if name.startswith("fc_norm"):  # timm has one or the other
        del state["norm.weight"], state["norm.bias"]
    save_file(state, tmp_path / "x.safetensors")
    said = refusal(tmp_path / "x.safetensors")
    assert meaning in said
    assert f"'{name}'" in said


def test_a_network_without_a_class_token_is_named(tmp_path: Path) -> None:
    state = timm()
    del state["cls_token"]
    state["pos_embed"] = state["pos_embed"][:, 1:].copy()
    save_file(state, tmp_path / "x.safetensors")
    assert "averages all its tokens and has no class token" in refusal(tmp_path / "x.safetensors")


def test_a_classifier_of_dinov2_is_named(tmp_path: Path) -> None:
    state = timm()
    state["head.weight"] = np.zeros((5, 48), np.float32)
    save_file(state, tmp_path / "x.safetensors")
    assert "by its class token and the average of the others" in refusal(tmp_path / "x.safetensors")


def test_a_distilled_network_with_one_classifier_gets_another_of_zeros(tmp_path: Path) -> None:
    """As Hugging Face fine-tunes a distilled DeiT; the mean of both classifiers is the one."""
    state = timm(2)
    theirs = hugging_face(
        {name: value for name, value in state.items() if not name.startswith("head_dist")}
    )
    save_file(theirs, tmp_path / "x.safetensors")
    for kind in ("weight", "bias"):
        state[f"head_dist.{kind}"] = np.zeros_like(state[f"head.{kind}"])
        state[f"head.{kind}"] = 2 * state[f"head.{kind}"]
    (said,) = same(tmp_path / "x.safetensors", state)
    assert "the class token's counts alone" in said


def test_no_code_of_a_checkpoint_runs(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return subprocess.call, (["touch", str(tmp_path / "exploded")],)

    torch.save({"model": tensors(timm()), "args": Bomb()}, tmp_path / "x.pth")
    assert re.search(r"more than plain tensors \(\w+\.call\)", refusal(tmp_path / "x.pth"))
    assert not (tmp_path / "exploded").exists()
