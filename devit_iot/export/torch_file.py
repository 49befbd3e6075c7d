"""Files that torch.save wrote, read without running any of their code."""

import argparse
import pathlib
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from devit_iot.errors import DataError

_SCRIPT = "constants.pkl"
"""A member that only TorchScript's archives have."""


def read_torch(path: Path) -> Mapping[Any, Any]:
    """The content of a file, its tensors as numpy arrays: float64 the floating-point ones.

    Command-line options (``argparse.Namespace``) and numpy's numbers, which training scripts store
    beside the weights, are read as plain data; any other class is refused by its name.

    Raises:
        DataError: torch is not installed; the file is damaged, or holds other things than plain
            data and tensors.
    """
    try:
        import torch
    except ImportError as error:
        raise DataError(
            f"{path} needs torch; pip install 'devit-iot[train]', or convert it to .safetensors"
        ) from error
    if _is_script(path):
        raise DataError(
            f"{path} is a TorchScript program; give the network's weights: "
            "torch.save(model.state_dict(), ...)"
        )
    try:
        # torch gets an open file: it would look at the suffix of a path.
        with torch.serialization.safe_globals(_harmless()), path.open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"{path} {_reason(path, str(error))}") from error
    if not isinstance(content, Mapping):
        raise DataError(
            f"{path} holds a {type(content).__name__}, not tensors by name; save the network's "
            "state_dict"
        )
    return _arrays(path, content)


def _harmless() -> list[Any]:
    """Classes that hold data and do nothing: themselves, or with the name that files call them."""
    scalar = np.float64(0).__reduce__()[0]  # what numpy makes a number with
    kinds = (np.float64, np.float32, np.int64, np.int32, np.bool_)
    return [
        argparse.Namespace,
        pathlib.PosixPath,
        pathlib.PurePosixPath,
        np.dtype,
        *(type(np.dtype(kind)) for kind in kinds),
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
    ]


def _is_script(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(_SCRIPT) for name in archive.namelist())


def _reason(path: Path, said: str) -> str:
    """One line of our own: torch's advises to run the file's code."""
    import torch

    try:
        with path.open("rb") as file:
            classes = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception:  # noqa: BLE001 - whatever is wrong with the file, it was refused already
        classes = []
    known = {
        c[1] if isinstance(c, tuple) else f"{c.__module__}.{c.__qualname__}" for c in _harmless()
    }
    foreign = sorted(set(classes) - known)
    if foreign:
        return (
            f"holds more than plain tensors ({foreign[0]}), and is not loaded; where it was made, "
            "save the weights alone: torch.save(model.state_dict(), ...)"
        )
    if "weights_only" in said or "Unsupported" in said:
        return (
            "holds more than plain tensors, and is not loaded; where it was made, save the "
            "weights alone: torch.save(model.state_dict(), ...)"
        )
    return "is damaged, or no file of PyTorch's; copy or download it again"


def _arrays(path: Path, content: Mapping[Any, Any]) -> dict[Any, Any]:
    import torch

    converted: dict[Any, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            converted[name] = _arrays(path, value)
        elif isinstance(value, torch.Tensor):
            converted[name] = _array(path, name, value)
        else:
            converted[name] = value
    return converted


def _array(path: Path, name: object, value: Any) -> Any:  # noqa: ANN401 - a tensor, an array
    if value.is_meta:
        raise DataError(f"{path}: '{name}' has a shape but no numbers; save the weights again")
    plain = value.detach()
    plain = plain.dequantize() if plain.is_quantized else plain
    plain = plain.to_dense() if plain.layout != _strided() else plain
    return (plain.double() if plain.is_floating_point() else plain).numpy()


def _strided() -> Any:  # noqa: ANN401 - torch.layout, which is imported late
    import torch

    return torch.strided
