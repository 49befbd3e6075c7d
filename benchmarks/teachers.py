"""The teacher as its users would run it on one core: our engine and ONNX Runtime."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cases import Case
from numpy.typing import NDArray

from devit_iot.bench.graph import F32, peer_pixels
from devit_iot.bench.models import random_array, random_image, random_tensors
from devit_iot.bench.peers import ENGINES, Source
from devit_iot.bench.runners import Job, open_model
from devit_iot.bundle.spec import macs
from devit_iot.bundle.storage import Array
from devit_iot.engine.fusion import Fusion
from devit_iot.engine.native import NativeEngine
from devit_iot.errors import EngineError
from devit_iot.export.reference import features

CHECKED_MACS = 30e9
"""A larger teacher is not compared with float64: that would take a minute and 4 GB."""
TOLERANCE = 1e-3
_ONNX = "onnxruntime"


class Teacher(NamedTuple):
    """Both contenders, from an image in memory to class scores.

    Attributes:
        native: takes raw pixels.
        detail: what the native engine chose on this machine.
        onnx: takes pixels that are laid out already. None if left out.
        errors: relative distance of the feature from float64; empty where it was not measured.
    """

    native: Callable[[], F32]
    detail: str
    onnx: Callable[[], F32] | None
    errors: dict[str, float]


def load_teacher(case: Case, *, with_onnx: bool) -> Teacher:
    """Build the case's teacher and see that all agree.

    Raises:
        EngineError: a contender is not installed, or computes something else.
    """
    spec, image = case.teacher, random_image(case.teacher)
    tensors: dict[str, Array] = (
        {**case.bundles[0].read_part(0).tensors} if case.bundles else {**random_tensors(spec, 0)}
    )
    scores = _scores(case)
    engine = NativeEngine(spec, tensors, threads=1, isa="")
    runs: dict[str, Callable[[], F32]] = {"native": lambda: engine.features(image)}
    if with_onnx:
        runs["onnx"] = _onnx(case, tensors, image)
    errors = {}
    if macs(spec) <= CHECKED_MACS:
        wanted = features(spec, tensors, image[None])[0]
        for name, run in runs.items():
            errors[name] = float(np.linalg.norm(run() - wanted) / np.linalg.norm(wanted))
            if not errors[name] < TOLERANCE:
                raise EngineError(f"{case.name}: {name} is {errors[name]:.2g} away from float64")
    ends = {name: _ending(run, scores) for name, run in runs.items()}
    return Teacher(ends["native"], engine.detail, ends.get("onnx"), errors)


def _scores(case: Case) -> Callable[[F32], F32]:
    """From the feature to class scores."""
    if case.bundles is not None:
        fusion = Fusion(case.bundles[0])
        return lambda feature: fusion.logits({0: feature})
    rng = np.random.default_rng(0)
    matrix = random_array(rng, (case.classes, case.teacher.feature_dim))
    bias = random_array(rng, (case.classes,))
    return lambda feature: matrix @ feature + bias


def _ending(run: Callable[[], F32], scores: Callable[[F32], F32]) -> Callable[[], F32]:
    return lambda: scores(run())


def _onnx(case: Case, tensors: dict[str, Array], image: NDArray[np.uint8]) -> Callable[[], F32]:
    """The network in ONNX Runtime, on one thread."""
    peer = ENGINES[_ONNX]
    if reason := peer.lacks("float32"):
        raise EngineError(f"{_ONNX} is {reason}, or take --without-onnx")
    with tempfile.TemporaryDirectory(prefix="devit-onnx-") as name:
        folder = Path(name)
        np.save(folder / "pixels.npy", peer_pixels(tensors, image, peer.layout))
        model = peer.write(Source(case.teacher, tensors), folder, "float32")
        return open_model(Job(_ONNX, str(model), str(folder / "pixels.npy"), 1, "float32")).run
