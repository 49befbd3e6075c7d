"""How images were made into squares, by what stands beside the weights of timm or Hugging Face."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

import msgspec

from devit_iot.bundle.spec import CROPPED, Filter, Fit, Resize, SubVitSpec

OPTIONS = ("--resize", "--fit", "--filter")
"""Of ``devit bundle import``, in the order of :class:`Prepared`."""
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
"""Pillow's numbers, as Hugging Face's processors write them."""
_BILINEAR = ("ViTImageProcessor", "ViTFeatureExtractor")
"""Processors that are bilinear where ``resample`` is not written; others are bicubic."""
_SHORT_SIDE = ("CLIP", "BitImage")
"""Processors for which a ``size`` of one number is the short side; for others it is both sides."""


class Prepared(NamedTuple):
    """What files or options say; None where they say nothing that can be followed.

    Attributes:
        resize_size: short side before the centre crop, or both sides, pixels.
        fit: whether the short side or both sides get that size.
        filter: filter of the resize.
        notes: what cannot be followed, for people.
    """

    resize_size: int | None = None
    fit: Fit | None = None
    filter: Filter | None = None
    notes: tuple[str, ...] = ()


def chosen(
    image_size: int, asked: Prepared, told: Prepared
) -> tuple[int, Resize | msgspec.UnsetType]:
    """``resize_size`` and ``resize`` of a spec; what is asked for wins over what files say."""
    how = Resize(asked.fit or told.fit or "crop", asked.filter or told.filter or "bicubic")
    usual = image_size if how.fit == "squash" else round(image_size * 8 / 7)
    size = asked.resize_size or told.resize_size or usual
    return size, msgspec.UNSET if how == CROPPED else how


def described(spec: SubVitSpec, asked: Prepared, told: Prepared) -> str:
    """How images become squares, and where each piece of it is known from, for people."""
    squash = spec.resized.fit == "squash"
    pieces = (
        f"{'both sides' if squash else 'short side'} {spec.resize_size}",
        f"{'squashed, ' if squash else ''}the middle {spec.image_size} pixels",
        spec.resized.filter,
    )
    origins = [
        option if wanted else "the file beside it" if found else "ASSUMED"
        for option, wanted, found in zip(OPTIONS, asked, told, strict=False)
    ]
    assumed = [o for o, origin in zip(OPTIONS, origins, strict=True) if origin == "ASSUMED"]
    groups = [
        f"{', '.join(p for p, found in zip(pieces, origins, strict=True) if found == origin)} "
        f"({origin}{': ' + ', '.join(assumed) if origin == 'ASSUMED' else ''})"
        for origin in dict.fromkeys(origins)
    ]
    return f"images: {'; '.join(groups)}"


def of_timm(config: Mapping[str, Any], image_size: int | None) -> Prepared:
    """What ``crop_pct``, ``crop_mode`` and ``interpolation`` of timm's configuration say."""
    crop, mode = config.get("crop_pct"), config.get("crop_mode")
    resize = None
    if image_size and isinstance(crop, int | float) and 0 < crop <= 1:
        resize = math.floor(image_size / crop)  # timm's own rounding
    fits: dict[object, Fit] = {None: "crop", "center": "crop", "squash": "squash"}
    fit = fits.get(mode) if isinstance(mode, str | None) else None
    by, notes = _filter(config.get("interpolation", "bicubic"))
    if fit is None:
        notes.append(f"NOT FOLLOWED: its images were prepared by timm's crop mode '{mode}'")
    return Prepared(resize, fit, by, tuple(notes))


def of_hugging_face(processor: Mapping[str, Any], image_size: int | None) -> Prepared:
    """What a ``preprocessor_config.json`` says.

    Args:
        processor: content of the file; empty if there is none.
        image_size: side of the network's input, pixels; None if unknown.
    """
    if not processor:
        return Prepared()
    if not processor.get("do_resize", True):
        return Prepared(notes=("NOT FOLLOWED: its processor resizes no image",))
    kind = str(processor.get("image_processor_type", processor.get("feature_extractor_type", "")))
    resize, fit, notes = _size(processor.get("size"), kind)
    cut = processor.get("crop_size", image_size) if processor.get("do_center_crop") else resize
    cut = cut.get("height") if isinstance(cut, dict) else cut
    if image_size and whole(cut) not in {None, image_size} and fit is not None:
        notes.append(
            f"NOT FOLLOWED: its processor gives squares of {cut} pixels, the network takes "
            f"{image_size}"
        )
    default = "bilinear" if kind.startswith(_BILINEAR) else "bicubic"
    number = processor.get("resample")
    named = _RESAMPLE.get(number, number) if isinstance(number, int) else number or default
    by, said = _filter(named)
    return Prepared(resize, fit, by, (*notes, *said))


def _size(size: object, kind: str) -> tuple[int | None, Fit | None, list[str]]:
    """The sides to which a processor resizes."""
    if size is None:
        return None, None, []
    if isinstance(size, dict) and "shortest_edge" in size and "longest_edge" not in size:
        return whole(size["shortest_edge"]), "crop", []
    if isinstance(size, dict) and whole(size.get("height")) == whole(size.get("width")) is not None:
        return whole(size["height"]), "squash", []
    if isinstance(size, list) and len(size) == 2 and size[0] == size[1]:  # noqa: PLR2004 - 2 sides
        return whole(size[0]), "squash", []
    if (side := whole(size)) is not None:
        return side, "crop" if kind.startswith(_SHORT_SIDE) else "squash", []
    return None, None, [f"NOT FOLLOWED: its processor resizes to {size}"]


def _filter(name: object) -> tuple[Filter | None, list[str]]:
    for known in get_args(Filter):
        if name == known:
            return known, []
    return None, [f"NOT FOLLOWED: its images were resized by '{name}'"]


def whole(value: object) -> int | None:
    """A positive whole number; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return None
    return value
