"""Heads that say something, if nothing sensible."""

import numpy as np

from devit_iot.bundle.head import Fit
from devit_iot.bundle.head_writing import write_head
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import FusionSpec


def write_random(bundle: Bundle, name: str, seed: int, unknown: float = 0.0) -> str:
    """A head of two classes that says something; returns its version."""
    rng = np.random.default_rng(seed)
    spec = FusionSpec(2, bundle.manifest.fusion_spec.feature_dims)
    return write_head(
        bundle,
        name,
        classes=("no", "yes"),
        tensors={
            tensor.name: rng.standard_normal(tensor.shape).astype(np.float32) / 9
            for tensor in spec.tensors()
        },
        unknown=unknown,
        fit=Fit("random", (1, 1), 1.0, 1.0, 2, 0.5),
        provenance={},
    ).version
