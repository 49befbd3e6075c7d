"""A checkpoint file -> float64 arrays by name. Nothing in a checkpoint is ever executed."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from devit_iot.decompose.fold import F64
from devit_iot.errors import DataError

WRAPPERS = ("model", "state_dict", "teacher")
"""Keys under which training scripts store the weights, beside optimiser and epoch."""


def read_checkpoint(path: Path) -> dict[str, F64]:
    """The tensors of a ``.safetensors``, ``.pth`` or ``.pt`` file; only the last two need torch.

    Raises:
        DataError: the file is missing, damaged, of another type, or not plain tensors.
    """
    if not path.is_file():
        raise DataError(f"{path} is not a file")
    match path.suffix:
        case ".safetensors":
            return _read_safetensors(path)
        case ".pth" | ".pt":
            return _read_torch(path)
        case suffix:
            raise DataError(f"{path}: '{suffix}' is not one of .safetensors, .pth, .pt")


def _read_safetensors(path: Path) -> dict[str, F64]:
    try:
        return {name: value.astype(np.float64) for name, value in load_file(path).items()}
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); it must be a safetensors file of float16, float32 "
            "or float64 tensors"
        ) from error


def _read_torch(path: Path) -> dict[str, F64]:
    try:
        import torch
    except ImportError as error:
        raise DataError(
            f"{path} needs torch; pip install 'devit-iot[train]', or convert it to .safetensors"
        ) from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path} is damaged or holds more than plain tensors, and is not loaded: {first_line}"
        ) from error
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise DataError(f"{path} holds a {type(content).__name__}, not tensors by name")
    others = [name for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise DataError(f"{path}: '{others[0]}' is not a tensor; save the state_dict alone")
    return {str(name): value.double().numpy() for name, value in content.items()}
