"""A checkpoint -> float64 arrays by name. Nothing in a checkpoint is ever executed."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from devit_iot.errors import DataError
from devit_iot.export.fold import F64
from devit_iot.export.torch_file import read_torch
from devit_iot.export.wrong_file import what_it_is
from devit_iot.text_file import read_text

Weights = Literal["ema", "raw"]
"""Which of two sets of weights in one file: the average over the training, or the last ones."""

AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
"""Keys under which training scripts store averaged weights, timm's first."""
RAW = ("state_dict", "model", "model_state_dict", "net", "teacher")
"""Keys under which they store the weights, beside optimiser and epoch."""
INDEX = ".index.json"
IN_FOLDER = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
)
"""Weights in a folder of Hugging Face's or timm's, the first that is there."""
_SHARD = re.compile(r"-\d{5}-of-\d{5}(\.\w+)$")
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_TORCH = (b"PK\x03\x04", b"\x80")
"""A zip archive, or the pickle of torch before 1.6."""
_MAX_NESTING = 4


class Checkpoint(NamedTuple):
    """What a file holds.

    Attributes:
        tensors: arrays by the file's names, without those that hold no floating-point numbers.
        notes: what was chosen where there was a choice, for people.
    """

    tensors: dict[str, F64]
    notes: tuple[str, ...] = ()


def weights_file(path: Path) -> Path:
    """The file with the weights: ``path`` itself, or the one in the folder ``path``.

    A checkpoint of several pieces is represented by their index.

    Raises:
        DataError: there is none.
    """
    if path.is_file():
        index = path.with_name(_SHARD.sub(r"\1", path.name) + INDEX)
        return index if _SHARD.search(path.name) and index.is_file() else path
    if path.is_dir():
        for name in IN_FOLDER:
            if (path / name).is_file():
                return path / name
        raise DataError(f"{path} holds none of {', '.join(IN_FOLDER)}; give the file itself")
    raise DataError(f"{path} is not a file")


def read_checkpoint(path: Path, weights: Weights = "ema") -> Checkpoint:
    """The tensors of a file of safetensors or torch, of a folder, or of an index of shards.

    Files are told apart by their content, whatever they are called. Only torch's own format needs
    torch.

    Args:
        path: the file; a folder as Hugging Face's and timm's libraries keep it; or an index of
            several files.
        weights: name of the set to take, where a file holds two.

    Raises:
        DataError: the file is missing, damaged, of another kind, or holds more than tensors.
    """
    file = weights_file(path)
    if file.name.endswith(INDEX):
        return _read_shards(file)
    content: Any = _read_file(file)
    notes: list[str] = []
    for _ in range(_MAX_NESTING):
        found = [key for key in (*AVERAGES, *RAW) if isinstance(content.get(key), Mapping)]
        if not found:
            break
        average = next((key for key in found if key in AVERAGES), None)
        raw = next((key for key in found if key in RAW), None)
        chosen = (average or raw) if weights == "ema" else (raw or average)
        if average and raw:
            notes.append(
                f"it holds two sets of weights, '{raw}' and their average '{average}': "
                f"'{chosen}' was taken (--weights)"
            )
        content = content[chosen]
    others = [name for name, value in content.items() if not isinstance(value, np.ndarray)]
    if others:
        raise DataError(
            f"{file}: '{others[0]}' is not a tensor; save the network's state_dict alone"
        )
    return Checkpoint(_floats(content), tuple(notes))


def _floats(content: Mapping[Any, NDArray[np.generic]]) -> dict[str, F64]:
    """Counters and indices are no weights."""
    return {
        str(name): value.astype(np.float64)
        for name, value in content.items()
        if np.issubdtype(value.dtype, np.floating)
    }


def _read_file(file: Path) -> Mapping[Any, Any]:
    with file.open("rb") as opened:
        head = opened.read(512)
    size = file.stat().st_size
    wrong = what_it_is(head, size)
    if wrong is not None:
        raise DataError(f"{file} {wrong}")
    if _is_safetensors(head, size):
        return _read_safetensors(file)
    if not head.startswith(_TORCH):
        raise DataError(
            f"{file} cannot be read: it is neither a safetensors file nor one of PyTorch's, or is "
            "damaged; copy or download it again"
        )
    return read_torch(file)


def _is_safetensors(head: bytes, size: int) -> bool:
    """The header's length, then a JSON object (safetensors, "Format")."""
    return len(head) > 8 and int.from_bytes(head[:8], "little") <= size and head[8:9] == b"{"  # noqa: PLR2004


def _read_safetensors(file: Path) -> dict[str, F64]:
    found: dict[str, F64] = {}
    try:
        for name, view in deserialize(file.read_bytes()):  # type: ignore[no-untyped-call]
            kind = _DTYPES.get(view["dtype"])
            if kind is None:
                continue  # counters and indices
            raw = np.frombuffer(view["data"], kind).reshape(view["shape"])
            found[name] = _from_bfloat16(raw) if view["dtype"] == "BF16" else raw.astype(np.float64)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{file} cannot be read ({error}); copy or download this safetensors file again"
        ) from error
    return found


def _from_bfloat16(halves: np.ndarray[Any, Any]) -> F64:
    """bfloat16 is the upper half of a float32."""
    return (halves.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def _read_shards(index: Path) -> Checkpoint:
    """All files that ``model.safetensors.index.json`` names."""
    try:
        mapped = json.loads(read_text(index))["weight_map"]
        names = sorted(set(mapped.values()))
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise DataError(f"{index} is no index of weights ({error}); download it again") from error
    tensors: dict[str, F64] = {}
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise DataError(f"{index} names '{name}', which is not a file beside it")
        if not (index.parent / name).is_file():
            raise DataError(f"{index} names {name}, which is not there; download it too")
        tensors |= _floats(_read_file(index.parent / name))
    missing = sorted(set(mapped) - set(tensors))
    counted = [name for name in missing if not name.endswith("position_ids")]
    if counted:
        raise DataError(f"{index}: '{counted[0]}' is in none of its files; download them again")
    return Checkpoint(tensors, (f"it was read from {len(names)} files",))
