"""What stands beside the weights: config.json of timm or Hugging Face, and its preprocessor."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from devit_iot.errors import DataError
from devit_iot.export.fold import Normalisation
from devit_iot.export.prepared import Prepared, of_hugging_face, of_timm, whole
from devit_iot.text_file import read_text

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
_MAX_BYTES = 4 * 2**20
_UNSEEN = {"_rope_": "rotary positions", "quickgelu": "another activation (QuickGELU)"}
"""What the name of an architecture of timm's says, and no tensor."""
_USUAL = (("tiny_", 192, 3), ("small_", 384, 6))
"""Size in the name of timm's plain ViTs and DeiTs, their width, and their heads."""
_MAX_CHANNEL = 4.0
"""Mean and deviation of pixels from 0 to 1 are below it; of pixels from 0 to 255 they are not."""


class Beside(NamedTuple):
    """What the files say; None where they say nothing.

    Attributes:
        heads: attention heads of each block.
        image_size: side of the square input, pixels.
        prepared: how images were made into squares.
        normalisation: mean and deviation of the pixels.
        norm_eps: epsilon of the layer norms.
        classes: names by label.
        notes: what was taken from which file, and what was found that cannot be followed.
    """

    heads: int | None = None
    image_size: int | None = None
    prepared: Prepared = Prepared()
    normalisation: Normalisation | None = None
    norm_eps: float | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def read_beside(weights: Path) -> Beside:
    """What the files in the folder of ``weights`` say of it.

    Raises:
        DataError: one is damaged, or says what cannot be.
    """
    config = _read(weights.parent / CONFIG)
    if config is None:
        return Beside()
    if isinstance(config.get("pretrained_cfg"), dict) or "architecture" in config:
        return _timm(config)
    if "model_type" in config or "hidden_size" in config:
        return _hugging_face(config, _read(weights.parent / PREPROCESSOR) or {})
    return Beside(notes=(f"{CONFIG} is neither timm's nor Hugging Face's: not used",))


def check_normalisation(mean: Any, std: Any, origin: str) -> Normalisation:  # noqa: ANN401 - as read
    """Mean and deviation per channel, of pixels from 0 to 1.

    Raises:
        DataError: they are not three numbers each, or of pixels from 0 to 255.
    """
    for name, values in (("mean", mean), ("deviation", std)):
        three = isinstance(values, list | tuple) and len(values) == 3  # noqa: PLR2004 - RGB
        if not (three and all(type(value) in {int, float} for value in values)):
            raise DataError(f"{origin}: the {name} must be three numbers, got {values!r}")
        if not all(abs(value) <= _MAX_CHANNEL for value in values):
            raise DataError(
                f"{origin}: a {name} of {values[0]:g} is of pixels from 0 to 255; divide all by 255"
            )
    if min(std) <= 0:
        raise DataError(f"{origin}: the deviation must be positive, got {list(std)}")
    red, green, blue = map(float, mean)
    return Normalisation((red, green, blue), (float(std[0]), float(std[1]), float(std[2])))


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path} is larger than any configuration; remove or repair it")
        content = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} does not parse ({error}); repair it, or move it away") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no object; repair it, or move it away")
    return content


def _timm(config: Mapping[str, Any]) -> Beside:
    """The facts in a folder that timm's ``push_to_hf_hub`` or ``save_for_hf`` wrote."""
    taken = config.get("pretrained_cfg")
    pretrained: Mapping[str, Any] = taken if isinstance(taken, dict) else config
    arguments = config.get("model_args")
    architecture = str(config.get("architecture", "no architecture"))
    for mark, meaning in _UNSEEN.items():
        if mark in architecture:
            raise DataError(f"{CONFIG}: '{architecture}' has {meaning}; it cannot be imported")
    act = arguments.get("act_layer", "gelu") if isinstance(arguments, dict) else "gelu"
    if act not in {None, "gelu"}:
        raise DataError(f"{CONFIG}: '{act}' for gelu cannot be computed")
    notes = [f"{CONFIG} is timm's, of {architecture}"]
    size = pretrained.get("input_size")
    image = whole(size[-1]) if isinstance(size, list) and size else None
    if isinstance(size, list) and len(size) > 1 and size[-1] != size[-2]:
        raise DataError(f"{CONFIG}: an input of {size[-2]} x {size[-1]} pixels is not square")
    prepared = of_timm(pretrained, image)
    if "mean" in pretrained and "std" in pretrained:
        normalisation = check_normalisation(pretrained["mean"], pretrained["std"], CONFIG)
    else:
        normalisation = None
    notes += prepared.notes
    names = pretrained.get("label_names", config.get("label_names"))
    heads = arguments.get("num_heads") if isinstance(arguments, dict) else None
    if heads is None:
        heads = _usual_heads(architecture, config.get("num_features"))
    return Beside(whole(heads), image, prepared, normalisation, None, _names(names), tuple(notes))


def _usual_heads(architecture: str, width: object) -> int | None:
    """Heads of an architecture of timm's; None where its name does not tell."""
    family, _, size = architecture.partition("_")
    known = _USUAL if family in {"vit", "deit", "deit3"} else ()
    return next((n for start, usual, n in known if size.startswith(start) and width == usual), None)


def _hugging_face(config: Mapping[str, Any], processor: Mapping[str, Any]) -> Beside:
    """The facts in a folder that Hugging Face's ``save_pretrained`` wrote."""
    notes = [f"{CONFIG} is Hugging Face's, of {config.get('model_type', 'no model_type')}"]
    if config.get("hidden_act", "gelu") != "gelu":
        raise DataError(f"{CONFIG}: '{config['hidden_act']}' for gelu cannot be computed")
    image = whole(config.get("image_size"))
    normalisation = None
    if "image_mean" in processor and "image_std" in processor:
        values = processor["image_mean"], processor["image_std"]
        normalisation = check_normalisation(*values, PREPROCESSOR)
    prepared = of_hugging_face(processor, image)
    notes += prepared.notes
    if not processor:
        notes.append(f"there is no {PREPROCESSOR}")
    eps = config.get("layer_norm_eps")
    labels = config.get("id2label")
    names = None
    if isinstance(labels, dict):
        try:
            names = [labels[key] for key in sorted(labels, key=int)]
        except ValueError as error:
            raise DataError(f"{CONFIG}: id2label has a label that is no number") from error
    return Beside(
        whole(config.get("num_attention_heads")),
        image,
        prepared,
        normalisation,
        float(eps) if isinstance(eps, int | float) and eps > 0 else None,
        _names(names),
        tuple(notes),
    )


def _names(names: object) -> tuple[str, ...] | None:
    """Hugging Face's placeholders are no names."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    if all(name == f"LABEL_{index}" for index, name in enumerate(names)):
        return None
    return tuple(names) or None
