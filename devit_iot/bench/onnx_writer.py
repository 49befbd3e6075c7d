"""Writes a network as ONNX, for ONNX Runtime and OpenVINO. Needs the package onnx, no torch."""

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

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

OPSET = 20
_IR_VERSION = 9
_LEVELS, _ZERO = 127, 128
"""Weights are unsigned: with signed ones the runtime's AVX2 kernels saturate."""


class OnnxWriter(Graph[str]):
    """See :class:`devit_iot.bench.graph.Graph`. Maps are NCHW, sheets have two dimensions.

    With ``int8`` linear layers are ONNX Runtime's dynamically quantised ones: weights by output
    channel, activations as bytes with one scale for the whole sheet, found at run time.
    """

    def __init__(self, spec: SubVitSpec, *, int8: bool) -> None:
        super().__init__(spec)
        self._int8 = int8
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def save(self, feature: str, path: Path) -> None:
        """Write the model that ends with ``feature``; weights lie in a file beside ``path``."""
        self._nodes.append(helper.make_node("Identity", [feature], ["feature"]))
        spec, real = self._spec, TensorProto.FLOAT
        rows = max(1, spec.prefix_tokens)
        shape = [1, CHANNELS, spec.image_size, spec.image_size]
        graph = helper.make_graph(
            self._nodes,
            "sub-vit",
            [helper.make_tensor_value_info("pixels", real, shape)],
            [helper.make_tensor_value_info("feature", real, [rows, spec.embed_dim])],
            self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        save(model, path, save_as_external_data=True, location=path.name + ".data")

    def pixels(self, image_size: int) -> str:
        """The input."""
        del image_size
        return "pixels"

    def conv(self, maps: str, kernel: F32, layer: ConvSpec) -> str:
        """Convolution without bias."""
        weight = self._constant(kernel.transpose(0, 3, 1, 2))
        return self._node(
            "Conv", maps, weight, strides=[layer.stride] * 2, pads=[layer.padding] * 4
        )

    def relu_max_pool(self, maps: str) -> str:
        """ReLU and pooling."""
        return self._node(
            "MaxPool",
            self._node("Relu", maps),
            kernel_shape=[POOL_SIZE] * 2,
            strides=[POOL_STRIDE] * 2,
            pads=[POOL_PADDING] * 4,
        )

    def sheet(self, maps: str) -> str:
        """A map as a sheet."""
        columns = self._reshape(maps, self._spec.embed_dim, self._spec.patches)
        return self._node("Transpose", columns, perm=[1, 0])

    def below(self, top: F32, sheet: str) -> str:
        """Constant rows, then the sheet."""
        return self._node("Concat", self._constant(top), sheet, axis=0)

    def add_constant(self, sheet: str, constant: F32) -> str:
        """Sum."""
        return self._node("Add", sheet, self._constant(constant))

    def add(self, sheet: str, other: str) -> str:
        """Sum."""
        return self._node("Add", sheet, other)

    def normalise(self, sheet: str, scale: F32 | None = None, shift: F32 | None = None) -> str:
        """Layer norm."""
        dim = self._spec.embed_dim
        factors = np.ones(dim, np.float32) if scale is None else scale
        offsets = np.zeros(dim, np.float32) if shift is None else shift
        constants = self._constant(factors), self._constant(offsets)
        return self._node("LayerNormalization", sheet, *constants, epsilon=self._spec.norm_eps)

    def linear(self, sheet: str, layer: Linear[F32]) -> str:
        """Gemm, or its dynamically quantised form."""
        bias = self._constant(layer.bias)
        if not self._int8:
            return self._node("Gemm", sheet, self._constant(layer.weight), bias, transB=1)
        largest = np.abs(layer.weight).max(axis=1, keepdims=True)
        scale = np.where(largest > 0, largest / _LEVELS, 1).astype(np.float32)
        levels = (np.rint(layer.weight / scale) + _ZERO).astype(np.uint8).T
        return self._node(
            "DynamicQuantizeMatMul",
            sheet,
            self._constant(levels),
            self._constant(scale[:, 0]),
            self._constant(np.full(len(levels.T), _ZERO, np.uint8)),
            bias,
            domain="com.microsoft",
        )

    def gelu(self, sheet: str) -> str:
        """Exact GELU."""
        return self._node("Gelu", sheet)

    def attention(self, sheet: str, heads: int, qkv: Linear[F32], projection: Linear[F32]) -> str:
        """Products and softmax; the runtimes fuse what they can."""
        inner = len(qkv.bias) // 3
        query, key, value = (
            self._reshape(
                self.linear(sheet, Linear(qkv.weight[rows], qkv.bias[rows])),
                *(self._spec.tokens, heads, self._spec.head_dim),
            )
            for rows in (slice(start, start + inner) for start in range(0, 3 * inner, inner))
        )
        scores = self._node(
            "MatMul",
            self._node("Transpose", query, perm=[1, 0, 2]),
            self._node("Transpose", key, perm=[1, 2, 0]),
        )
        shares = self._node("Softmax", scores, axis=-1)
        mixed = self._node("MatMul", shares, self._node("Transpose", value, perm=[1, 0, 2]))
        joined = self._node("Transpose", mixed, perm=[1, 0, 2])
        return self.linear(self._reshape(joined, self._spec.tokens, inner), projection)

    def first_rows(self, sheet: str, count: int) -> str:
        """The first rows."""
        bounds = (self._constant(np.array([value])) for value in (0, count, 0))
        return self._node("Slice", sheet, *bounds)

    def pool(self, sheet: str, weight: F32) -> str:
        """Sequence pooling."""
        scores = self._node("MatMul", sheet, self._constant(weight[:, None]))
        shares = self._node("Softmax", scores, axis=0)
        return self._node("MatMul", self._node("Transpose", shares, perm=[1, 0]), sheet)

    def _reshape(self, value: str, *shape: int) -> str:
        return self._node("Reshape", value, self._constant(np.array(shape)))

    def _constant(self, values: Any) -> str:  # noqa: ANN401 - of any dtype
        name = f"constant.{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _node(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:  # noqa: ANN401
        name = f"{kind}.{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes)
        )
        return name
