"""The whole fleet in this process, without a broker: for single images and for evaluation."""

from devit_iot.bundle import Bundle
from devit_iot.engine.base import load_engine
from devit_iot.engine.fusion import Fusion
from devit_iot.engine.image import load_image
from devit_iot.messages import Ranked


class LocalFleet:
    """Every part of a bundle, one after the other.

    Raises:
        BundleError, EngineError: a part cannot be loaded or fails its golden check.
    """

    def __init__(self, bundle: Bundle, *, engine: str = "native", threads: int = 0) -> None:
        parts = range(len(bundle.manifest.parts))
        self._specs = [bundle.part(index).spec for index in parts]
        self._engines = [
            load_engine(bundle, index, name=engine, threads=threads) for index in parts
        ]
        self._fusion = Fusion(bundle)

    def classify(self, payload: bytes) -> list[Ranked]:
        """The five most probable classes of one image file.

        Raises:
            ImageError: it does not decode.
        """
        squares = {
            (spec.resize_size, spec.image_size): load_image(payload, spec) for spec in self._specs
        }
        features = {
            index: engine.features(squares[spec.resize_size, spec.image_size])
            for index, (spec, engine) in enumerate(zip(self._specs, self._engines, strict=True))
        }
        return self._fusion.rank(self._fusion.logits(features))
