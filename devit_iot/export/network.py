"""A trained network from wherever it lies: weights, names and variants made plain."""

from pathlib import Path
from typing import NamedTuple

from devit_iot.errors import DataError
from devit_iot.export.beside import Beside, read_beside
from devit_iot.export.checkpoint import Weights, read_checkpoint, weights_file
from devit_iot.export.names import State, internal_names
from devit_iot.export.variants import plain


class Network(NamedTuple):
    """What was read.

    Attributes:
        tensors: arrays by the names of :func:`devit_iot.export.fold.trained_shapes`, and ``head``.
        beside: what stands beside the weights.
        notes: what was taken from where, and what was done, for people.
    """

    tensors: State
    beside: Beside
    notes: tuple[str, ...]


def read_network(path: Path, weights: Weights = "ema") -> Network:
    """Read a checkpoint of timm's, DeiT's, Hugging Face's, torchvision's or Compact Transformers'.

    Args:
        path: a file of safetensors or torch, an index of several, or their folder.
        weights: name of the set to take, where a file holds two.

    Raises:
        DataError: it cannot be read, or is a variant that engines do not compute.
    """
    file = weights_file(path)
    read = read_checkpoint(file, weights)
    beside = read_beside(file)
    try:
        tensors, done = plain(internal_names(read.tensors))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return Network(tensors, beside, (*beside.notes, *read.notes, *done))
