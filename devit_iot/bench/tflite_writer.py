"""Writes a network as a .tflite file, by the schema that ai-edge-litert brings. Needs no torch."""

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

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

_LEVELS = 127
_VERSION = 3
_BYTE_CODES = 127
"""Operators up to this one also have the code of the first files, in one byte."""
_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "int8": schema.TensorType.INT8,
}
Operator = schema.BuiltinOperator


class TfliteWriter(Graph[int]):
    """See :class:`devit_iot.bench.graph.Graph`. Values are numbers of tensors; maps are NHWC.

    With ``int8`` linear layers have a dynamic range: weights by output channel, activations as
    bytes with a scale per row, found at run time.
    """

    def __init__(self, spec: SubVitSpec, *, int8: bool) -> None:
        super().__init__(spec)
        self._int8 = int8
        self._graph = schema.SubGraphT(tensors=[], operators=[], inputs=[], outputs=[])
        self._buffers = [schema.BufferT()]
        self._codes: dict[tuple[int, int], int] = {}
        self._shapes: list[tuple[int, ...]] = []

    def save(self, feature: int, path: Path) -> None:
        """Write the model that ends with ``feature``."""
        self._graph.outputs = [feature]
        codes = [
            schema.OperatorCodeT(
                builtinCode=code, deprecatedBuiltinCode=min(code, _BYTE_CODES), version=version
            )
            for code, version in self._codes
        ]
        model = schema.ModelT(
            version=_VERSION, operatorCodes=codes, subgraphs=[self._graph], buffers=self._buffers
        )
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        path.write_bytes(builder.Output())

    def pixels(self, image_size: int) -> int:
        """The input."""
        pixels = self._tensor((1, image_size, image_size, CHANNELS))
        self._graph.inputs = [pixels]
        return pixels

    def conv(self, maps: int, kernel: F32, layer: ConvSpec) -> int:
        """Convolution without bias; TFLite pads by an operator of its own."""
        rows = layer.convolved(self._shapes[maps][1])
        if layer.padding:
            maps = self._padded(maps, layer.padding)
        options = schema.Conv2DOptionsT(
            padding=schema.Padding.VALID, strideW=layer.stride, strideH=layer.stride
        )
        out = layer.channels
        constants = self._constant(kernel), self._constant(np.zeros(out, np.float32))
        return self._operator(
            Operator.CONV_2D, (1, rows, rows, out), maps, *constants, options=options
        )

    def relu_max_pool(self, maps: int) -> int:
        """Pooling whose output is cut at 0: a border of zeros changes no maximum then."""
        padded = self._padded(maps, POOL_PADDING)
        _, side, _, channels = self._shapes[padded]
        rows = (side - POOL_SIZE) // POOL_STRIDE + 1
        options = schema.Pool2DOptionsT(
            padding=schema.Padding.VALID, strideW=POOL_STRIDE, strideH=POOL_STRIDE,
            filterWidth=POOL_SIZE, filterHeight=POOL_SIZE,
            fusedActivationFunction=schema.ActivationFunctionType.RELU,
        )  # fmt: skip
        shape = (1, rows, rows, channels)
        return self._operator(Operator.MAX_POOL_2D, shape, padded, options=options)

    def sheet(self, maps: int) -> int:
        """A map as a sheet."""
        return self._reshape(maps, self._spec.patches, self._spec.embed_dim)

    def below(self, top: F32, sheet: int) -> int:
        """Constant rows, then the sheet."""
        rows, columns = self._shapes[sheet]
        shape, options = (len(top) + rows, columns), schema.ConcatenationOptionsT(axis=0)
        return self._operator(
            Operator.CONCATENATION, shape, self._constant(top), sheet, options=options
        )

    def add_constant(self, sheet: int, constant: F32) -> int:
        """Sum."""
        return self.add(sheet, self._constant(constant))

    def add(self, sheet: int, other: int) -> int:
        """Sum."""
        return self._elementwise(Operator.ADD, schema.AddOptionsT(), sheet, other)

    def normalise(self, sheet: int, scale: F32 | None = None, shift: F32 | None = None) -> int:
        """Layer norm, taken apart: TFLite has no operator for it."""
        centred = self._elementwise(Operator.SUB, schema.SubOptionsT(), sheet, self._mean(sheet))
        squares = self._elementwise(Operator.MUL, schema.MulOptionsT(), centred, centred)
        eps = self._constant(np.array([[self._spec.norm_eps]], np.float32))
        variance = self.add(self._mean(squares), eps)
        inverse = self._operator(Operator.RSQRT, self._shapes[variance], variance)
        normed = self._elementwise(Operator.MUL, schema.MulOptionsT(), centred, inverse)
        if scale is not None:
            factors = self._constant(scale[None])
            normed = self._elementwise(Operator.MUL, schema.MulOptionsT(), normed, factors)
        return normed if shift is None else self.add_constant(normed, shift[None])

    def linear(self, sheet: int, layer: Linear[F32]) -> int:
        """Fully connected."""
        outputs, _ = layer.weight.shape
        weight = self._levels(layer.weight) if self._int8 else self._constant(layer.weight)
        options = schema.FullyConnectedOptionsT(keepNumDims=True)
        return self._operator(
            Operator.FULLY_CONNECTED,
            (self._shapes[sheet][0], outputs),
            *(sheet, weight, self._constant(layer.bias)),
            options=options,
            version=12 if self._int8 else 5,  # scales by channel; keepNumDims
        )

    def gelu(self, sheet: int) -> int:
        """Exact GELU."""
        options = schema.GeluOptionsT(approximate=False)
        return self._operator(Operator.GELU, self._shapes[sheet], sheet, options=options)

    def attention(self, sheet: int, heads: int, qkv: Linear[F32], projection: Linear[F32]) -> int:
        """Products and softmax."""
        inner, tokens, dim = len(qkv.bias) // 3, self._spec.tokens, self._spec.head_dim
        query, key, value = (
            self._transpose(
                self._reshape(
                    self.linear(sheet, Linear(qkv.weight[rows], qkv.bias[rows])),
                    *(tokens, heads, dim),
                )
            )
            for rows in (slice(start, start + inner) for start in range(0, 3 * inner, inner))
        )
        scores = self._operator(
            Operator.BATCH_MATMUL,
            (heads, tokens, tokens),
            *(query, key),
            options=schema.BatchMatMulOptionsT(adjY=True),
        )
        options = schema.SoftmaxOptionsT(beta=1.0)
        shares = self._operator(Operator.SOFTMAX, self._shapes[scores], scores, options=options)
        mixed = self._operator(
            Operator.BATCH_MATMUL,
            (heads, tokens, dim),
            *(shares, value),
            options=schema.BatchMatMulOptionsT(),
        )
        return self.linear(self._reshape(self._transpose(mixed), tokens, inner), projection)

    def first_rows(self, sheet: int, count: int) -> int:
        """The first rows."""
        shape = (count, self._shapes[sheet][1])
        bounds = (self._constant(np.array(values, np.int32)) for values in ((0, 0), shape))
        return self._operator(Operator.SLICE, shape, sheet, *bounds, options=schema.SliceOptionsT())

    def pool(self, sheet: int, weight: F32) -> int:
        """Sequence pooling."""
        scores = self.linear(sheet, Linear(weight[None], np.zeros(1, np.float32)))
        row = self._reshape(scores, 1, self._spec.tokens)
        options = schema.SoftmaxOptionsT(beta=1.0)
        shares = self._operator(Operator.SOFTMAX, self._shapes[row], row, options=options)
        return self._operator(
            Operator.BATCH_MATMUL,
            (1, self._spec.embed_dim),
            *(shares, sheet),
            options=schema.BatchMatMulOptionsT(),
        )

    def _mean(self, sheet: int) -> int:
        axis = self._constant(np.array([1], np.int32))
        options = schema.ReducerOptionsT(keepDims=True)
        return self._operator(
            Operator.MEAN, (self._shapes[sheet][0], 1), sheet, axis, options=options
        )

    def _padded(self, maps: int, padding: int) -> int:
        edges = np.array([[0, 0], [padding] * 2, [padding] * 2, [0, 0]], np.int32)
        _, rows, columns, channels = self._shapes[maps]
        shape = (1, rows + 2 * padding, columns + 2 * padding, channels)
        return self._operator(
            Operator.PAD, shape, maps, self._constant(edges), options=schema.PadOptionsT()
        )

    def _reshape(self, value: int, *shape: int) -> int:
        options = schema.ReshapeOptionsT(newShape=list(shape))
        target = self._constant(np.array(shape, np.int32))
        return self._operator(Operator.RESHAPE, shape, value, target, options=options)

    def _transpose(self, value: int) -> int:
        """Swap the first two of three axes."""
        first, second, third = self._shapes[value]
        order = self._constant(np.array([1, 0, 2], np.int32))
        options = schema.TransposeOptionsT()
        return self._operator(
            Operator.TRANSPOSE, (second, first, third), value, order, options=options
        )

    def _elementwise(self, kind: int, options: Any, left: int, right: int) -> int:  # noqa: ANN401
        return self._operator(kind, self._shapes[left], left, right, options=options)

    def _levels(self, weight: F32) -> int:
        largest = np.abs(weight).max(axis=1, keepdims=True)
        scale = np.where(largest > 0, largest / _LEVELS, 1).astype(np.float32)
        number = self._constant(np.rint(weight / scale).astype(np.int8))
        self._graph.tensors[number].quantization = schema.QuantizationParametersT(
            scale=scale[:, 0], zeroPoint=np.zeros(len(scale), np.int64), quantizedDimension=0
        )
        return number

    def _constant(self, values: Any) -> int:  # noqa: ANN401 - of several dtypes
        data = np.ascontiguousarray(values)
        self._buffers.append(schema.BufferT(data=data.view(np.uint8).reshape(-1)))
        return self._tensor(data.shape, data.dtype.name, len(self._buffers) - 1)

    def _tensor(self, shape: tuple[int, ...], dtype: str = "float32", buffer: int = 0) -> int:
        self._graph.tensors.append(
            schema.TensorT(
                shape=list(shape), type=_TYPES[dtype], buffer=buffer, name=f"t{len(self._shapes)}"
            )
        )
        self._shapes.append(shape)
        return len(self._shapes) - 1

    def _operator(
        self,
        kind: int,
        shape: tuple[int, ...],
        *inputs: int,
        options: Any = None,  # noqa: ANN401
        version: int = 1,
    ) -> int:
        output = self._tensor(shape)
        code = self._codes.setdefault((kind, version), len(self._codes))
        operator = schema.OperatorT(opcodeIndex=code, inputs=list(inputs), outputs=[output])
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        self._graph.operators.append(operator)
        return output
