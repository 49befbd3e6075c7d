"""The engine protocol, its registry, and the golden check that every engine must pass."""

import importlib
from collections.abc import Mapping
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.reading import Part
from devit_iot.bundle.storage import Array, Dtype
from devit_iot.errors import EngineError
from devit_iot.programs import missing_core

GOLDEN_TOLERANCE: Mapping[Dtype, float] = {"float32": 1e-3, "float16": 0.02, "int8": 0.2}
"""Largest relative L2 error of the golden feature, by what an engine computes in.

Sound engines stay below 1e-5 in float32. In float16 the demo's parts reach 0.0007 by their weights,
0.003 with sums in halves; in int8 0.05 with activations of 8 bits. A wrong engine is off by about
the feature's own length.
"""

ENGINES = {
    "native": ("devit_iot.engine.native", "NativeEngine", None),
    "tflite": ("devit_iot.engine.tflite", "TfliteEngine", "tflite"),
    "torch": ("devit_iot.engine.torch", "TorchEngine", "train"),
}
"""Name -> module, class, and the extra that it needs. A new engine is a new row."""


class Engine(Protocol):
    """Computes the feature of one part.

    Attributes:
        name: the registry's name.
        dtype: element type in which it computes with the matrices.
        detail: choices that it made on this machine, for people: instruction set, threads.
    """

    name: str
    dtype: Dtype
    detail: str

    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The feature, float32[feature_dim], of one RGB image, uint8[size, size, 3]."""


class PartEngine(Engine, Protocol):
    """An engine of the registry: it can be made of a bundle's part."""

    @classmethod
    def of_part(
        cls,
        part: Part,
        *,
        threads: int,
        isa: str,
        dtype: Dtype | None,
    ) -> Self:
        """The engine of one part.

        Args:
            part: its tensors are read once, here.
            threads: CPU threads of one inference; 0 means all that this process may use.
            isa: instruction set to force; empty for the best.
            dtype: what to compute in; None leaves it to the engine.

        Raises:
            BundleError: a file that this engine needs is missing or damaged.
            ValueError: ``isa`` or ``dtype`` cannot be had.
        """


def load_engine(
    part: Part,
    *,
    name: str = "native",
    threads: int = 0,
    isa: str = "",
    dtype: Dtype | None = None,
) -> Engine:
    """Build the engine ``name`` of one part and prove it on the golden image.

    By default the native engine computes in what the part is stored in, all else in float32.

    Raises:
        BundleError: a file of the engine's own is missing or damaged.
        EngineError: no such engine, its extra is not installed, or it computes wrong numbers.
    """
    if name not in ENGINES:
        raise EngineError(f"no engine '{name}'; there are: {', '.join(sorted(ENGINES))}")
    module, class_name, extra = ENGINES[name]
    try:
        engine_class: type[PartEngine] = getattr(importlib.import_module(module), class_name)
    except ImportError as error:
        hint = f"pip install 'devit-iot[{extra}]'" if extra else missing_core()
        raise EngineError(f"engine '{name}' cannot be loaded ({error}); {hint}") from error
    try:
        engine = engine_class.of_part(part, threads=threads, isa=isa, dtype=dtype)
    except ValueError as error:
        raise EngineError(f"engine '{name}': {error}") from error
    check_golden(engine, part.tensors)
    return engine


def require_core() -> None:
    """Raise EngineError, saying why and what to do, unless our C++ module loads."""
    try:
        importlib.import_module("devit_iot._core")
    except ImportError as error:
        raise EngineError(f"the C++ module does not load ({error}); {missing_core()}") from error


def available_isas() -> tuple[str, ...]:
    """Instruction sets that the native engine can use here, best first; none without it."""
    try:
        core = importlib.import_module("devit_iot._core")
    except ImportError:
        return ()
    return tuple(core.isas())


def check_golden(engine: Engine, tensors: Mapping[str, Array]) -> None:
    """Raise EngineError unless ``engine`` reproduces the bundle's golden feature."""
    wanted = tensors["golden.feature"]
    found = engine.features(tensors["golden.image"].astype(np.uint8, copy=False))
    if found.shape != wanted.shape:
        wrong = f"a feature of shape {found.shape}, {wanted.shape} wanted"
    else:
        error = float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
        allowed = GOLDEN_TOLERANCE[engine.dtype]
        if error <= allowed:  # never true of NaN
            return
        wrong = f"relative error {error:.2g}, at most {allowed:g} allowed"
    raise EngineError(
        f"engine '{engine.name}' ({engine.detail}) fails the golden check: {wrong}; do not serve "
        "with it, try DEVIT_ISA=scalar or another engine, and report this"
    )
