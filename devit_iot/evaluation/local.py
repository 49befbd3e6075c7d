"""The whole fleet in this process, without a broker: for single images and for evaluation."""

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import Resize, SubVitSpec, View
from devit_iot.bundle.storage import Dtype
from devit_iot.engine.base import load_engine
from devit_iot.engine.fusion import Fusion
from devit_iot.engine.image import load_image
from devit_iot.protocol.crop import Crop
from devit_iot.protocol.label import DEFAULT_HEAD, Ranked

_Square = tuple[int, int, View, Resize]


def _square_of(spec: SubVitSpec) -> _Square:
    """Parts that agree in it take the same pixels of an image."""
    return spec.resize_size, spec.image_size, spec.seen, spec.resized


class PartFeature(NamedTuple):
    """What one part says of an image.

    Attributes:
        values: float32[feature_dim].
        seconds: time that its engine took, decoding not counted.
        cpu_seconds: CPU time of this process meanwhile, all threads together.
    """

    values: NDArray[np.float32]
    seconds: float
    cpu_seconds: float = 0.0


class LocalFleet:
    """Every part of a bundle, one after the other.

    Attributes:
        crop: rectangle of each image that is computed, by default that of the head; None: all.
        detail: what the engine of the first part chose on this machine.
        fusion: fusion of the head that answers.

    Raises:
        BundleError, EngineError: a part or the head cannot be loaded, or fails its check.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        engine: str = "native",
        threads: int = 0,
        dtype: Dtype | None = None,
        head: str = DEFAULT_HEAD,
        crop: Crop | None = None,
    ) -> None:
        parts = [bundle.read_part(index) for index in range(len(bundle.manifest.parts))]
        self._specs = [part.spec for part in parts]
        self._engines = [
            load_engine(part, name=engine, threads=threads, dtype=dtype) for part in parts
        ]
        self.detail = self._engines[0].detail
        self.fusion = Fusion(bundle, head)
        self.crop = crop or self.fusion.crop

    def features(self, payload: bytes) -> list[PartFeature]:
        """The features of one image file, by part.

        Raises:
            ImageError: it does not decode.
        """
        squares = {
            _square_of(spec): load_image(payload, spec, crop=self.crop) for spec in self._specs
        }
        features = []
        for spec, engine in zip(self._specs, self._engines, strict=True):
            square = squares[_square_of(spec)]
            begin, cpu = time.perf_counter(), time.process_time()
            values = engine.features(square)
            spent = time.process_time() - cpu
            features.append(PartFeature(values, time.perf_counter() - begin, spent))
        return features

    def classify(self, payload: bytes) -> list[Ranked]:
        """The five most probable classes of one image file.

        Raises:
            ImageError: it does not decode.
        """
        features = {part: found.values for part, found in enumerate(self.features(payload))}
        return self.fusion.rank(self.fusion.logits(features))
