"""Compiles a part for TFLite: the folded network of the torch engine, through litert-torch."""

import litert_torch
import torch

from devit_iot.bundle.reading import Part
from devit_iot.bundle.spec import CHANNELS
from devit_iot.engine.tflite_file import tflite_path, write_manifest
from devit_iot.engine.torch import FoldedSubVit


def export_tflite(part: Part) -> None:
    """Write the network of ``part`` and its manifest into the bundle's folder.

    The network takes the raw pixels, uint8[image_size, image_size, 3], and computes in float32;
    weights that are stored as halves or bytes are float32 in it.
    """
    spec = part.spec
    network = FoldedSubVit(spec, part.tensors).eval()
    image = torch.zeros((spec.image_size, spec.image_size, CHANNELS), dtype=torch.uint8)
    litert_torch.convert(network, (image,)).export(str(tflite_path(part)))
    write_manifest(part)
