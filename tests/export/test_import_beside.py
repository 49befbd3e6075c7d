"""What config.json beside the weights says is taken; what nothing says is assumed aloud."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.numpy import save_file

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import Resize
from devit_iot.cli.bundle import bundle as command
from devit_iot.datasets.class_names import distinct, read_class_names
from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.network.weights import load_checkpoint
from devit_iot.engine.base import load_engine
from devit_iot.engine.fusion import Fusion
from devit_iot.errors import DataError
from devit_iot.export.beside import read_beside
from devit_iot.export.importer import IMAGENET
from tests.support.spellings import CLASSES, SPEC, State, hugging_face, timm

NAMES = tuple("abcde")
TIMM: dict[str, Any] = {
    "architecture": "vit_of_mine",
    "num_classes": CLASSES,
    "model_args": {"num_heads": 3},
    "pretrained_cfg": {
        "input_size": [3, 28, 28], "interpolation": "bicubic", "crop_pct": 0.9,
        "crop_mode": "center", "mean": [0.5] * 3, "std": [0.5] * 3, "label_names": list(NAMES),
    },
}  # fmt: skip
HUGGING_FACE: dict[str, Any] = {
    "model_type": "vit", "hidden_size": 24, "num_attention_heads": 3, "image_size": 28,
    "patch_size": 7, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    "id2label": {str(label): name for label, name in enumerate(NAMES)},
}  # fmt: skip
PROCESSOR: dict[str, Any] = {
    "do_resize": True, "size": {"height": 28, "width": 28}, "resample": 2,
    "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
}  # fmt: skip


def folder(path: Path, state: State, **files: Any) -> Path:  # noqa: ANN401 - JSON
    path.mkdir(exist_ok=True)
    save_file(state, path / "model.safetensors")
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


def run_import(weights: Path, *options: str) -> Result:
    output = weights.parent / f"bundle-{len(list(weights.parent.iterdir()))}"
    return CliRunner().invoke(command, ["import", str(weights), "--output", str(output), *options])


def imported(weights: Path, *options: str) -> tuple[Bundle, str]:
    before = set(weights.parent.iterdir())
    result = run_import(weights, *options)
    assert result.exit_code == 0, result.output
    (output,) = set(weights.parent.iterdir()) - before
    return Bundle(output), result.output


def refusal(weights: Path, *options: str) -> str:
    result = run_import(weights, *options)
    assert result.exit_code == 1, result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


def logits(bundle: Bundle) -> np.ndarray[Any, Any]:
    image = np.random.default_rng(1).integers(0, 256, (28, 28, 3), np.uint8)
    return Fusion(bundle).logits(
        {0: load_engine(bundle.read_part(0), name="torch").features(image)}
    )


def test_timms_folder_needs_no_options(tmp_path: Path) -> None:
    found, said = imported(folder(tmp_path / "timm", timm(), config=TIMM))
    spec = found.part(0).spec
    assert found.manifest.classes == NAMES
    assert (spec.head_dim, spec.resize_size, spec.image_size) == (8, 31, 28)
    assert "3 heads of 8 (the file beside it)" in said
    assert "mean 0.5 0.5 0.5, deviation 0.5 0.5 0.5 (the file beside it)" in said
    assert "ASSUMED" not in said
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    explicit, _ = imported(
        folder(tmp_path / "bare", timm()) / "model.safetensors",
        *("--classes", str(tmp_path / "names.txt"), "--heads", "3", "--resize", "31"),
        *("--mean", "0.5", "0.5", "0.5", "--std", "0.5", "0.5", "0.5"),
    )
    np.testing.assert_array_equal(logits(found), logits(explicit))


def test_hugging_faces_folder_needs_no_options(tmp_path: Path) -> None:
    theirs = folder(
        tmp_path / "hf",
        hugging_face(timm()),
        config=HUGGING_FACE,
        preprocessor_config=PROCESSOR,
    )
    found, said = imported(theirs)
    spec = found.part(0).spec
    assert found.manifest.classes == NAMES
    assert (spec.head_dim, spec.resize_size, spec.norm_eps) == (8, 28, 1e-12)
    assert spec.resized == Resize("squash", "bilinear")
    assert "both sides 28, squashed, the middle 28 pixels, bilinear (the file beside it)" in said
    assert "NOT FOLLOWED" not in said
    ours, _ = imported(folder(tmp_path / "timm", timm(), config=TIMM))
    np.testing.assert_allclose(logits(found), logits(ours), atol=1e-5)


def test_options_win_over_what_stands_beside(tmp_path: Path) -> None:
    theirs = folder(tmp_path / "timm", timm(), config=TIMM)
    mean, std = map(str, IMAGENET.mean), map(str, IMAGENET.std)
    options = ("--heads", "6", "--resize", "40", "--fit", "squash", "--filter", "bilinear")
    found, said = imported(theirs, *options, "--mean", *mean, "--std", *std)
    spec = found.part(0).spec
    assert (spec.head_dim, spec.resize_size, spec.resized) == (4, 40, Resize("squash", "bilinear"))
    for origin in ("(--heads)", "40 (--resize)", "(--mean, --std)", "bilinear (--filter)"):
        assert origin in said
    assert "the file beside it" not in said


def test_what_nothing_says_is_assumed_aloud(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    bare = folder(tmp_path / "bare", timm())
    options = ("--classes", str(tmp_path / "names.txt"), "--heads", "3")
    _, said = imported(bare, *options)
    assert said.count("ASSUMED") == 2
    assert "mean 0.485 0.456 0.406" in said
    assert "short side 32, the middle 28 pixels, bicubic (ASSUMED: --resize, --fit" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [123.675, 116.28, 103.53]}, "of pixels from 0 to 255; divide all by 255"),
        ({"std": [58.395, 57.12, 57.375]}, "of pixels from 0 to 255"),
        ({"std": [0.5, 0.0, 0.5]}, "must be positive"),
        ({"mean": [0.5]}, "must be three numbers"),
        ({"mean": "half"}, "must be three numbers"),
        ({"mean": [True, 0.5, 0.5]}, "must be three numbers"),
        ({"input_size": [3, 14, 56]}, "14 x 56 pixels is not square"),
        ({"input_size": [3, 56, 56]}, "positions are of 28 x 28 pixels, not of 56 x 56"),
    ],
)
def test_impossible_values_beside_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    config = {**TIMM, "pretrained_cfg": {**TIMM["pretrained_cfg"], **change}}
    assert message in refusal(folder(tmp_path / "timm", timm(), config=config))


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "does not parse"), ("[]", "holds no object"), ("\x00", "does not parse")],
)
def test_a_damaged_config_is_named(tmp_path: Path, text: str, message: str) -> None:
    theirs = folder(tmp_path / "timm", timm())
    (theirs / "config.json").write_text(text)
    assert message in refusal(theirs)


def test_a_config_of_something_else_is_not_used_and_said(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    theirs = folder(tmp_path / "other", timm(), config={"lr": 0.1})
    _, said = imported(theirs, "--classes", str(tmp_path / "names.txt"), "--heads", "3")
    assert "is neither timm's nor Hugging Face's: not used" in said


def test_a_byte_order_mark_before_the_config_is_read_over(tmp_path: Path) -> None:
    theirs = folder(tmp_path / "timm", timm())
    (theirs / "config.json").write_text("\ufeff" + json.dumps(TIMM))
    assert imported(theirs)[0].manifest.classes == NAMES


@pytest.mark.parametrize("act", ["gelu_new", "quick_gelu"])
def test_another_activation_is_refused(tmp_path: Path, act: str) -> None:
    config = {**HUGGING_FACE, "hidden_act": act}
    assert f"'{act}' for gelu" in refusal(
        folder(tmp_path / "hf", hugging_face(timm()), config=config)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "vit_base_patch16_rope_ape_224"}, "has rotary positions"),
        ({"architecture": "vit_base_patch32_clip_quickgelu_224"}, "QuickGELU"),
        ({"model_args": {"num_heads": 3, "act_layer": "silu"}}, "'silu' for gelu"),
    ],
)
def test_what_no_tensor_tells_is_refused_by_the_config(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    said = refusal(folder(tmp_path / "timm", timm(), config={**TIMM, **change}))
    assert message in said


def test_placeholders_are_no_names(tmp_path: Path) -> None:
    labels = {str(label): f"LABEL_{label}" for label in range(CLASSES)}
    theirs = folder(
        tmp_path / "hf", hugging_face(timm()), config={**HUGGING_FACE, "id2label": labels}
    )
    assert "nothing beside it names its classes; give --classes" in refusal(theirs)


def test_a_mean_without_a_deviation_is_refused(tmp_path: Path) -> None:
    theirs = folder(tmp_path / "timm", timm(), config=TIMM)
    assert "give both --mean and --std" in refusal(theirs, "--mean", "0.5", "0.5", "0.5")
    options = ("--mean", "123", "116", "103", "--std", "58", "57", "57")
    assert "from 0 to 255" in refusal(theirs, *options)


@pytest.mark.parametrize(
    ("architecture", "width", "heads"),
    [
        ("vit_small_patch16_224", 384, 6),
        ("deit_tiny_patch16_224", 192, 3),
        ("deit3_small_patch16_224", 384, 6),
        ("vit_small_patch16_224", 768, None),  # timm's of 2020, 8 heads
        ("beit_small_patch16_224", 384, None),
    ],
)
def test_timms_name_tells_the_usual_heads(
    tmp_path: Path, architecture: str, width: int, heads: int | None
) -> None:
    config = {"architecture": architecture, "num_features": width}
    theirs = folder(tmp_path / "timm", timm(), config=config)
    assert read_beside(theirs / "model.safetensors").heads == heads


def test_heads_that_do_not_divide_are_refused(tmp_path: Path) -> None:
    theirs = folder(tmp_path / "timm", timm(), config=TIMM)
    assert "5 heads (--heads) do not divide a width of 24" in refusal(theirs, "--heads", "5")


def test_twelve_narrow_heads_are_another_network_than_three_wide_ones(tmp_path: Path) -> None:
    narrow = {**TIMM, "model_args": {"num_heads": 12}}
    three, _ = imported(folder(tmp_path / "three", timm(), config=TIMM))
    twelve, said = imported(folder(tmp_path / "twelve", timm(), config=narrow))
    assert "12 heads of 2" in said
    assert not np.allclose(logits(three), logits(twelve))


def test_one_logit_becomes_two_classes_by_the_sigmoid(tmp_path: Path) -> None:
    state = timm()
    state["head.weight"], state["head.bias"] = state["head.weight"][:1], state["head.bias"][:1]
    (tmp_path / "two.txt").write_text("closed\nopen\n")
    (tmp_path / "one.txt").write_text("open\n")
    theirs = folder(tmp_path / "binary", state, config=TIMM)
    found, _ = imported(theirs, "--classes", str(tmp_path / "two.txt"))
    zero, logit = logits(found)
    assert zero == 0
    ranked = Fusion(found).rank(logits(found))
    opened = next(r.confidence for r in ranked if r.label == "open")
    assert opened == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-6)
    assert "one logit" in refusal(theirs, "--classes", str(tmp_path / "one.txt"))
    assert "got 5" in refusal(theirs)


def positions(rows: int, columns: int) -> np.ndarray[Any, Any]:
    """Smooth in both directions, as trained ones are."""
    row, column = np.mgrid[0:rows, 0:columns]
    waves = [
        function(frequency * math.pi * axis / side)
        for axis, side in ((row, rows), (column, columns))
        for frequency in (1, 2, 3)
        for function in (np.sin, np.cos)
    ]
    return np.stack(waves * 2, axis=-1).reshape(1, rows * columns, 24).astype(np.float32)


@pytest.mark.parametrize(
    ("rows", "columns", "square"), [(8, 8, True), (4, 16, False), (9, 4, False), (2, 32, False)]
)
def test_positions_of_a_long_image_are_no_square(
    tmp_path: Path,
    rows: int,
    columns: int,
    square: bool,  # noqa: FBT001
) -> None:
    """There are as many patches of 4 x 16 as of 8 x 8, and of 9 x 4 as of 6 x 6."""
    state = timm()
    state["pos_embed"] = np.concatenate([state["pos_embed"][:, :1], positions(rows, columns)], 1)
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    theirs = folder(tmp_path / "long", state)
    options = ("--classes", str(tmp_path / "names.txt"), "--heads", "3")
    if square:
        assert imported(theirs, *options)[0].part(0).spec.image_size == 56
    else:
        assert f"look like {rows} rows of {columns} patches" in refusal(theirs, *options)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("a\nb\n", ("a", "b")),
        ("\ufeffa\r\nb\r\n\r\n", ("a", "b")),
        (" a \n\tb\u00a0\n", ("a", "b")),
        ('["a", "b, c"]', ("a", "b, c")),
        ('\n["a",\n"b"]\n', ("a", "b")),
        ("cafe\u0301\n", ("caf\u00e9",)),
    ],
)
def test_files_of_class_names(tmp_path: Path, content: str, names: tuple[str, ...]) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content.encode())
    assert read_class_names(path) == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\n\nb\n", "name 2 is empty"),
        (b"a\n \nb", "name 2 is empty"),
        (b'["a", 2]', "a list of names alone"),
        (b'["a", ', "begins like a JSON list but is none"),
        (b"a\nb\x07\n", "name 2, 'b\\\\x07', is longer than 256 characters, or has some"),
        (b"\xff\xfe\x00", "is not a text file of class names"),
    ],
)
def test_bad_files_of_class_names(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_class_names(path)


def test_repeated_names_are_told_apart() -> None:
    """ImageNet itself has two cranes and two maillots."""
    assert distinct(["crane", "tench", "crane "]) == ("crane (0)", "tench", "crane (2)")
    assert distinct(["a", "b"]) == ("a", "b")
    assert distinct(["crane", "crane", "crane (1)"]) == (
        "crane (0)",
        "crane (1) (1)",
        "crane (1) (2)",
    )


def test_a_bad_names_file_leaves_nothing_behind(tmp_path: Path) -> None:
    theirs = folder(tmp_path / "timm", timm(), config=TIMM)
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\x07")
    before = sorted(tmp_path.rglob("*"))
    refusal(theirs, "--classes", str(tmp_path / "names.txt"))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("heads", "fits"), [(3, True), (6, False), (2, False)])
def test_heads_beside_the_weights_must_be_the_recipes(
    tmp_path: Path,
    heads: int,
    fits: bool,  # noqa: FBT001
) -> None:
    """The same matrices cut into other heads are another network."""
    config = {"architecture": "mine", "model_args": {"num_heads": heads}}
    path = folder(tmp_path / "timm", timm(), config=config) / "model.safetensors"
    model = Classifier(SPEC, CLASSES)
    if fits:
        assert load_checkpoint(model, path)
        return
    before = {name: value.clone() for name, value in model.state_dict().items()}
    said = f"says {heads} attention heads, the recipe's model has 3 of 8"
    with pytest.raises(DataError, match=said) as caught:
        load_checkpoint(model, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
