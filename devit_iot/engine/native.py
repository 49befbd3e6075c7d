"""Our own engine: the whole sub-ViT in C++, from uint8 pixels to the feature."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from devit_iot import _core
from devit_iot.bundle.reading import Part, Tensors
from devit_iot.bundle.spec import SubVitSpec
from devit_iot.bundle.storage import Array, Dtype, is_matrix, pack


class NativeEngine:
    """See :class:`devit_iot.engine.base.PartEngine`. DEVIT_ISA forces an instruction set."""

    name = "native"

    def __init__(
        self,
        spec: SubVitSpec,
        tensors: Mapping[str, Array],
        *,
        threads: int,
        isa: str,
        dtype: Dtype = "float32",
    ) -> None:
        self.dtype: Dtype = dtype
        self._vit = _core.SubVit(
            image_size=spec.image_size,
            patch_size=spec.patch_size,
            embed_dim=spec.embed_dim,
            head_dim=spec.head_dim,
            prefix_tokens=spec.prefix_tokens,
            blocks=[(block.heads, block.mlp_dim) for block in spec.blocks],
            norm_eps=spec.norm_eps,
            tensors=tensors if dtype == "float32" else _Packed(spec, tensors, dtype),
            tokenizer=[
                (layer.channels, layer.kernel_size, layer.stride, layer.padding)
                for layer in spec.tokenizer
            ],
            residual_norm=spec.residual_norm,
            dtype=dtype,
            threads=threads,
            isa=isa,
        )
        self.detail = f"{self._vit.isa}, {dtype}, {self._vit.threads} threads"

    @classmethod
    def of_part(
        cls,
        part: Part,
        *,
        threads: int,
        isa: str,
        dtype: Dtype | None,
    ) -> Self:
        """The engine of one part, by default in the dtype that the part is stored in."""
        return cls(part.spec, part.tensors, threads=threads, isa=isa, dtype=dtype or part.dtype)

    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The feature, float32[feature_dim], of one RGB image, uint8[size, size, 3]."""
        out = np.empty(self._vit.feature_dim, np.float32)
        self._vit.features(image, out)
        return out


class _Packed(Mapping[str, Any]):
    """Tensors as _core takes them: matrices as halves, or as pairs of bytes and scales.

    They come straight from a file that holds them; from other tensors they are made when asked for.
    """

    def __init__(self, spec: SubVitSpec, tensors: Mapping[str, Array], dtype: Dtype) -> None:
        self._specs = {tensor.name: tensor for tensor in spec.tensors()}
        self._tensors = tensors
        self._dtype = dtype

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - an array or a pair of them
        tensor = self._specs[name]
        if not is_matrix(tensor):
            return self._tensors[name]
        if isinstance(self._tensors, Tensors) and self._tensors.storage == self._dtype:
            arrays = self._tensors.packed(name)
        else:
            arrays = pack(tensor, self._tensors[name], self._dtype)
        return tuple(arrays.values()) if len(arrays) > 1 else arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)
