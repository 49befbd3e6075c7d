"""Our own engine: the whole sub-ViT in C++, from uint8 pixels to the feature."""

from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray

from devit_iot import _core
from devit_iot.bundle import Bundle
from devit_iot.spec import SubVitSpec
from devit_iot.storage import Array


class NativeEngine:
    """See :class:`devit_iot.engine.base.PartEngine`. DEVIT_ISA forces an instruction set."""

    name = "native"

    def __init__(
        self, spec: SubVitSpec, tensors: Mapping[str, Array], *, threads: int, isa: str
    ) -> None:
        self._vit = _core.SubVit(
            image_size=spec.image_size,
            patch_size=spec.patch_size,
            embed_dim=spec.embed_dim,
            head_dim=spec.head_dim,
            prefix_tokens=spec.prefix_tokens,
            blocks=[(block.heads, block.mlp_dim) for block in spec.blocks],
            norm_eps=spec.norm_eps,
            tensors=tensors,
            tokenizer=[
                (layer.channels, layer.kernel_size, layer.stride, layer.padding)
                for layer in spec.tokenizer
            ],
            residual_norm=spec.residual_norm,
            threads=threads,
            isa=isa,
        )
        self.detail = f"{self._vit.isa}, {self._vit.threads} threads"

    @classmethod
    def of_part(
        cls, bundle: Bundle, part: int, tensors: Mapping[str, Array], *, threads: int, isa: str
    ) -> Self:
        """The engine of one part; see the protocol."""
        return cls(bundle.part(part).spec, tensors, threads=threads, isa=isa)

    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The feature of one image; see the protocol."""
        out = np.empty(self._vit.feature_dim, np.float32)
        self._vit.features(image, out)
        return out
