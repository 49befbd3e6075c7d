"""A part on TensorFlow Lite, for boards where our own kernels do not run.

Runs ``part-<i>.tflite``, which ``devit bundle export-tflite`` writes, in float32, on ai-edge-litert
or, where only that installs, on tflite-runtime.
"""

import os
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.reading import Part
from devit_iot.bundle.spec import CHANNELS, SubVitSpec
from devit_iot.bundle.storage import Dtype
from devit_iot.engine.tflite_file import verified_model

try:
    from ai_edge_litert.interpreter import Interpreter

    _RUNTIME = "ai-edge-litert"
except ModuleNotFoundError:
    from tflite_runtime.interpreter import Interpreter

    _RUNTIME = "tflite-runtime"


class TfliteEngine:
    """See :class:`devit_iot.engine.base.PartEngine`. One call at a time.

    Args:
        spec: the part's shape.
        model: the network, verified.
        threads: CPU threads of one inference; 0 means all that this process may use.
        isa: must be empty.

    Raises:
        ValueError: the network has another shape, the runtime cannot run it, or ``isa`` is given.
    """

    name = "tflite"
    dtype: Dtype = "float32"

    def __init__(self, spec: SubVitSpec, model: Path, *, threads: int, isa: str) -> None:
        if isa:
            raise ValueError(f"TFLite chooses its own instruction set, '{isa}' cannot be forced")
        threads = threads or len(os.sched_getaffinity(0))
        try:
            self._interpreter: Any = Interpreter(model_path=str(model), num_threads=threads)
            self._interpreter.allocate_tensors()
        except RuntimeError as error:
            raise ValueError(f"{model} does not run on {_RUNTIME}: {error}") from error
        size = (spec.image_size, spec.image_size, CHANNELS)
        self._input = _index(self._interpreter.get_input_details(), size, np.uint8)
        self._output = _index(
            self._interpreter.get_output_details(), (spec.feature_dim,), np.float32
        )
        self.detail = f"{_RUNTIME} {metadata.version(_RUNTIME)}, {threads} threads"

    @classmethod
    def of_part(
        cls,
        part: Part,
        *,
        threads: int,
        isa: str,
        dtype: Dtype | None,
    ) -> Self:
        """The engine of one part; its weights are those in the network's file."""
        if dtype not in {None, "float32"}:
            raise ValueError(f"this engine's networks are float32, {dtype} cannot be had")
        return cls(part.spec, verified_model(part), threads=threads, isa=isa)

    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The feature, float32[feature_dim], of one RGB image, uint8[size, size, 3]."""
        self._interpreter.set_tensor(self._input, image)  # ValueError for another shape or dtype
        self._interpreter.invoke()
        feature: NDArray[np.float32] = self._interpreter.get_tensor(self._output)
        return feature


def _index(details: list[dict[str, Any]], shape: tuple[int, ...], dtype: type) -> int:
    """The index of the one tensor of ``details``, which must be as the engine needs it."""
    found = [(tuple(tensor["shape"].tolist()), tensor["dtype"]) for tensor in details]
    if found != [(shape, dtype)]:
        raise ValueError(f"expected one tensor {dtype.__name__}{shape}, the file has {found}")
    return int(details[0]["index"])
