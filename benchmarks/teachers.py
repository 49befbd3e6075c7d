"""The teacher as its users would run it on one core: our engine and ONNX Runtime."""

import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from cases import Case, random_array, random_image, random_tensors
from numpy.typing import NDArray
from torch import Tensor, nn

from devit_iot.decompose.export import state_float64
from devit_iot.decompose.fold import F32, fold_sub_vit
from devit_iot.decompose.models import Classifier
from devit_iot.engine.base import load_engine
from devit_iot.engine.fusion import Fusion
from devit_iot.engine.native import NativeEngine
from devit_iot.errors import EngineError
from devit_iot.spec import macs

CHECKED_MACS = 30e9
"""A larger teacher is not compared with torch: folding and copies would take minutes and 8 GB."""
TOLERANCE = 1e-3
OPSETS = (20, 23)
"""Of the ONNX graphs. 23 has attention as one operator, 20 takes it apart; the faster one counts:
which one that is differs from network to network."""
PEERS = "pip install onnx onnxscript onnxruntime"


class Logits(nn.Module):
    """A classifier's scores as one tensor, float[batch, classes]."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """The mean of the heads' logits."""
        scores: Tensor = self.model(images).logits.mean(dim=1)
        return scores


class Teacher(NamedTuple):
    """Both contenders, from an image in memory to class scores.

    Attributes:
        native: takes raw pixels.
        detail: what the native engine chose on this machine.
        onnx: by opset; takes pixels that are normalised and laid out already. Empty if left out.
        errors: relative distance from torch, by contender; empty where it was not measured.
    """

    native: Callable[[], F32]
    detail: str
    onnx: dict[str, Callable[[], F32]]
    errors: dict[str, float]


def load_teacher(case: Case, *, with_onnx: bool) -> Teacher:
    """Build the case's teacher and see that all agree.

    Raises:
        EngineError: a contender is not installed, or computes something else.
    """
    checked = case.bundles is None and macs(case.teacher) <= CHECKED_MACS
    raw = random_image(case.teacher)
    mean, deviation = (np.float32(v) for v in (case.normalisation.mean, case.normalisation.std))
    pixels = (raw / np.float32(255) - np.array(mean)) / np.array(deviation)
    images = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)
    model = _random_classifier(case) if checked or with_onnx else None
    native, detail = _native(case, model if checked else None, raw)
    onnx = {}
    if with_onnx and model is not None:
        onnx = {f"opset {o}": _onnx(Logits(model), images, o) for o in OPSETS}
    errors = {}
    if checked and model is not None:
        with torch.inference_mode():
            wanted = Logits(model)(torch.from_numpy(images))[0].numpy()
        for name, run in {"native": native, **onnx}.items():
            errors[name] = float(np.linalg.norm(run() - wanted) / np.linalg.norm(wanted))
            if not errors[name] < TOLERANCE:
                raise EngineError(f"{case.name}: {name} is {errors[name]:.2g} away from torch")
    return Teacher(native, detail, onnx, errors)


def _random_classifier(case: Case) -> Classifier:
    torch.manual_seed(0)
    model = Classifier(case.teacher, case.classes).eval()
    for parameter in model.heads.parameters():
        nn.init.normal_(parameter, std=case.teacher.embed_dim**-0.5)
    return model


def _native(
    case: Case, model: Classifier | None, raw: NDArray[np.uint8]
) -> tuple[Callable[[], F32], str]:
    if case.bundles is not None:
        bundle = case.bundles[0]
        engine, fusion = load_engine(bundle, 0, threads=1), Fusion(bundle)
        return lambda: fusion.logits({0: engine.features(raw)}), engine.detail
    spec = case.teacher
    if model is None:
        tensors = random_tensors(spec, 0)
        rng = np.random.default_rng(0)
        matrix = random_array(rng, (case.classes, spec.feature_dim))
        bias = random_array(rng, (case.classes,))
    else:
        tensors = fold_sub_vit(spec, state_float64(model.vit), case.normalisation)
        with torch.no_grad():
            weights = [head.weight / len(model.heads) for head in model.heads]
            biases = [head.bias for head in model.heads]
            matrix = torch.cat(weights, dim=1).numpy()
            bias = torch.stack(biases).mean(dim=0).numpy()
    random = NativeEngine(spec, tensors, threads=1, isa="")
    return lambda: matrix @ random.features(raw) + bias, random.detail


def _onnx(model: Logits, images: F32, opset: int) -> Callable[[], F32]:
    """Export ``model`` and open it in ONNX Runtime, on one thread."""
    runtime = _onnxruntime()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory(prefix="devit-onnx-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "teacher.onnx"
        torch.onnx.export(
            model,
            (torch.from_numpy(images),),
            path,
            input_names=["images"],
            output_names=["logits"],
            opset_version=opset,
            dynamo=True,
            external_data=True,  # one file holds 2 GB at most
            verbose=False,
        )
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run() -> F32:
        logits: F32 = session.run(["logits"], {"images": images})[0][0]
        return logits

    return run


def _onnxruntime() -> Any:  # noqa: ANN401 - a module without types
    try:
        import onnx  # noqa: F401 - the export needs it
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise EngineError(
            f"the ONNX Runtime contender needs {error.name}: {PEERS}, or --without-onnx"
        ) from error
    return onnxruntime
