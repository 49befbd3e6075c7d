"""Writes a network as ncnn's .param and .bin files, which are plain: needs numpy only.

https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from devit_iot.bench.graph import F32, Graph
from devit_iot.bundle.network import Linear
from devit_iot.bundle.spec import (
    CHANNELS,
    POOL_PADDING,
    POOL_SIZE,
    POOL_STRIDE,
    ConvSpec,
    SubVitSpec,
)

INPUT, OUTPUT = "pixels", "feature"
_MAGIC = "7767517"
_FLOAT32 = b"\0\0\0\0"
"""Stands before a matrix whose numbers are float32."""


class _Layer(NamedTuple):
    kind: str
    inputs: tuple[str, ...]
    output: str
    settings: Mapping[int, float | str]


class NcnnWriter(Graph[str]):
    """See :class:`devit_iot.bench.graph.Graph`. Settings have ncnn's numbers; width is 0."""

    def __init__(self, spec: SubVitSpec) -> None:
        super().__init__(spec)
        self._layers: list[_Layer] = []
        self._weights: list[bytes] = []

    def save(self, feature: str, path: Path) -> None:
        """Write ``path``, a .param file, and the .bin file beside it."""
        self._layer("Noop", feature, output=OUTPUT)
        lines = self._lines()
        blobs = sum(int(line.split()[3]) for line in lines)
        path.write_text("\n".join([_MAGIC, f"{len(lines)} {blobs}", *lines]) + "\n")
        with path.with_suffix(".bin").open("wb") as file:
            file.writelines(self._weights)

    def pixels(self, image_size: int) -> str:
        """The input."""
        return self._layer(
            "Input", output=INPUT, settings={0: image_size, 1: image_size, 2: CHANNELS}
        )

    def conv(self, maps: str, kernel: F32, layer: ConvSpec) -> str:
        """Convolution without bias."""
        self._matrix(kernel.transpose(0, 3, 1, 2))
        sizes = {0: layer.channels, 1: layer.kernel_size, 3: layer.stride, 4: layer.padding}
        return self._layer("Convolution", maps, settings={**sizes, 6: kernel.size})

    def relu_max_pool(self, maps: str) -> str:
        """ReLU and pooling; 5=1 leaves out what does not fill a window."""
        pooling = {1: POOL_SIZE, 2: POOL_STRIDE, 3: POOL_PADDING, 5: 1}
        return self._layer("Pooling", self._layer("ReLU", maps), settings=pooling)

    def sheet(self, maps: str) -> str:
        """A map as a sheet."""
        flat = self._layer(
            "Reshape", maps, settings={0: self._spec.patches, 1: self._spec.embed_dim}
        )
        return self._layer("Permute", flat, settings={0: 1})

    def below(self, top: F32, sheet: str) -> str:
        """Constant rows, then the sheet."""
        return self._layer("Concat", self._constant(top), sheet)

    def add_constant(self, sheet: str, constant: F32) -> str:
        """Sum."""
        return self._layer("BinaryOp", sheet, self._constant(constant))

    def add(self, sheet: str, other: str) -> str:
        """Sum."""
        return self._layer("BinaryOp", sheet, other)

    def normalise(self, sheet: str, scale: F32 | None = None, shift: F32 | None = None) -> str:
        """Layer norm; 2 says whether scale and shift follow."""
        affine = [values for values in (scale, shift) if values is not None]
        for values in affine:
            self._vector(values)
        settings = {0: self._spec.embed_dim, 1: self._spec.norm_eps, 2: int(bool(affine))}
        return self._layer("LayerNorm", sheet, settings=settings)

    def linear(self, sheet: str, layer: Linear[F32]) -> str:
        """A Gemm, its second matrix (5, transposed: 3) and bias (6, by column: 10) constant."""
        outputs, inputs = layer.weight.shape
        self._matrix(layer.weight)
        self._matrix(layer.bias)
        return self._layer("Gemm", sheet, settings={3: 1, 5: 1, 6: 1, 8: outputs, 9: inputs, 10: 4})

    def gelu(self, sheet: str) -> str:
        """Exact GELU."""
        return self._layer("GELU", sheet)

    def attention(self, sheet: str, heads: int, qkv: Linear[F32], projection: Linear[F32]) -> str:
        """One fused layer; 6 is the scale."""
        inner, dim = len(qkv.bias) // 3, self._spec.embed_dim
        for start in range(0, 3 * inner, inner):
            self._matrix(qkv.weight[start : start + inner])
            self._vector(qkv.bias[start : start + inner])
        self._matrix(projection.weight)
        self._vector(projection.bias)
        return self._layer(
            "MultiHeadAttention",
            sheet,
            settings={0: inner, 1: heads, 2: inner * dim, 3: dim, 4: dim, 6: 1.0},
        )

    def first_rows(self, sheet: str, count: int) -> str:
        """Crop from row 0 (9) to ``count`` (10) of axis 0 (11)."""
        ranges = {-23309: "1,0", -23310: f"1,{count}", -23311: "1,0"}
        return self._layer("Crop", sheet, settings=ranges)

    def pool(self, sheet: str, weight: F32) -> str:
        """Sequence pooling."""
        scores = self._layer("MatMul", sheet, self._constant(weight[:, None]))
        turned = self._layer("Permute", scores, settings={0: 1})
        return self._layer("MatMul", self._layer("Softmax", turned, settings={0: 1, 1: 1}), sheet)

    def _constant(self, values: F32) -> str:
        self._vector(values)
        rows, columns = values.shape
        return self._layer("MemoryData", settings={0: columns, 1: rows})

    def _matrix(self, values: F32) -> None:
        self._weights.append(_FLOAT32)
        self._vector(values)

    def _vector(self, values: F32) -> None:
        self._weights.append(np.ascontiguousarray(values, "<f4").tobytes())

    def _layer(
        self,
        kind: str,
        *inputs: str,
        output: str = "",
        settings: Mapping[int, float | str] | None = None,
    ) -> str:
        name = output or f"{kind}{len(self._layers)}"
        self._layers.append(_Layer(kind, inputs, name, settings or {}))
        return name

    def _lines(self) -> list[str]:
        """The layers; what several read goes through a Split, for ncnn lets one layer read it."""
        readers = Counter(name for layer in self._layers for name in layer.inputs)
        read: Counter[str] = Counter()
        lines = []
        for kind, inputs, output, settings in self._layers:
            names = []
            for name in inputs:
                names.append(f"{name}.{read[name]}" if readers[name] > 1 else name)
                read[name] += 1
            lines.append(_line(kind, output, names, [output], settings))
            if readers[output] > 1:
                copies = [f"{output}.{index}" for index in range(readers[output])]
                lines.append(_line("Split", f"{output}.split", [output], copies, {}))
        return lines


def _line(
    kind: str, name: str, inputs: list[str], outputs: list[str], settings: Mapping[int, float | str]
) -> str:
    counts = (kind, name, str(len(inputs)), str(len(outputs)))
    return " ".join((*counts, *inputs, *outputs, *(f"{k}={v}" for k, v in settings.items())))
