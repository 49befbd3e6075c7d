"""Parts' features -> class scores: a sum of one linear map per part (docs/method.md, eq. 14)."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.reading import Bundle
from devit_iot.protocol.label import Ranked


class Fusion:
    """The fusion matrices of one bundle, in memory."""

    def __init__(self, bundle: Bundle) -> None:
        spec = bundle.manifest.fusion_spec
        tensors = bundle.fusion_tensors()
        self.classes = bundle.manifest.classes
        self.parts_fingerprint = bundle.parts_fingerprint.hex()
        self.feature_dims = spec.feature_dims
        self._bias = tensors["bias"].astype(np.float32)
        parts = range(len(spec.feature_dims))
        self._weights = [tensors[f"parts.{i}.weight"].astype(np.float32) for i in parts]
        self._means = [tensors[f"parts.{i}.mean"].astype(np.float32) for i in parts]

    def logits(self, features: Mapping[int, NDArray[np.float32]]) -> NDArray[np.float32]:
        """float32[classes]: ``bias + sum_i W_i f_i``, a missing part by its mean contribution.

        See docs/method.md, eq. 15.

        Args:
            features: part index -> float32[feature_dim of that part].
        """
        total = self._bias.copy()
        for index, (weight, mean) in enumerate(zip(self._weights, self._means, strict=True)):
            feature = features.get(index)
            total += mean if feature is None else weight @ feature
        return total

    def rank(self, logits: NDArray[np.float32], count: int = 5) -> list[Ranked]:
        """The ``count`` most probable classes by softmax, most probable first."""
        exponent = np.exp(logits - logits.max())
        probabilities = exponent / exponent.sum()
        best = np.argsort(-probabilities, kind="stable")[:count]
        return [Ranked(self.classes[i], int(i), float(probabilities[i])) for i in best]
