"""Parts' features -> class scores: a sum of one linear map per part (docs/method.md, eq. 14)."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.head import read_head
from devit_iot.bundle.reading import Bundle
from devit_iot.protocol.label import DEFAULT_HEAD, UNKNOWN, Ranked


class Fusion:
    """The matrices of one head of a bundle, in memory.

    Args:
        bundle: bundle whose parts make the features.
        head: name of the head; by default the bundle's own fusion.

    Raises:
        BundleError: there is no such head, or it is damaged or belongs to other parts.
    """

    def __init__(self, bundle: Bundle, head: str = DEFAULT_HEAD) -> None:
        found = read_head(bundle, head)
        tensors = found.tensors
        self.head = found.name
        self.version = found.version
        self.classes = found.classes
        self.unknown = found.unknown
        self.crop = found.crop
        self.parts_fingerprint = bundle.parts_fingerprint.hex()
        self.feature_dims = found.feature_dims
        self._bias = tensors["bias"].astype(np.float32)
        parts = range(len(self.feature_dims))
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

    def answer(self, best: Ranked) -> Ranked:
        """What to say of the most probable class: itself, or ``unknown`` if it is too improbable.

        ``unknown`` has index -1, and the probability that ``best`` has.
        """
        return best if best.confidence >= self.unknown else Ranked(UNKNOWN, -1, best.confidence)
