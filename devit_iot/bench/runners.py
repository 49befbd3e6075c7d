"""Opens a model file in its engine, on so many threads. Imports only what the engine needs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
Runner = Callable[[], NDArray[np.float32]]


class Job(NamedTuple):
    """What a process opens.

    Attributes:
        engine: a name of ``peers.ENGINES``.
        model: the path that the engine's writer returned.
        pixels: a .npy file, the one image that is computed again and again.
        threads: CPU threads of one inference.
        dtype: element type to compute in.
    """

    engine: str
    model: str
    pixels: str
    threads: int
    dtype: str


class Opened(NamedTuple):
    """A model that is ready: what the engine chose, for people, and one inference."""

    detail: str
    run: Runner


def open_model(job: Job) -> Opened:
    """Import the engine and load the model into it."""
    return _RUNNERS[job.engine](job, np.load(job.pixels))


def _devit(job: Job, pixels: Pixels) -> Opened:
    from devit_iot.bundle.reading import Bundle
    from devit_iot.engine.native import NativeEngine

    part = Bundle(Path(job.model)).read_part(0)
    engine = NativeEngine.of_part(part, threads=job.threads, isa="", dtype=None)
    return Opened(engine.detail, lambda: engine.features(pixels))


def _onnxruntime(job: Job, pixels: Pixels) -> Opened:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    # Threads that wait for the next inference would take the cores of the others' turns.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(job.model, options, providers=["CPUExecutionProvider"])
    detail = "dynamic int8" if job.dtype == "int8" else ""

    def run() -> NDArray[np.float32]:
        feature: NDArray[np.float32] = session.run(None, {"pixels": pixels})[0].ravel()
        return feature

    return Opened(detail, run)


def _openvino(job: Job, pixels: Pixels) -> Opened:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": job.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # half precision would be its choice on some boards
    }
    compiled = openvino.Core().compile_model(job.model, "CPU", settings)
    request = compiled.create_infer_request()

    def run() -> NDArray[np.float32]:
        feature: NDArray[np.float32] = request.infer([pixels])[0].ravel()
        return feature

    return Opened("", run)


def _litert(job: Job, pixels: Pixels) -> Opened:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=job.model, num_threads=job.threads)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def run() -> NDArray[np.float32]:
        interpreter.set_tensor(source, pixels)
        interpreter.invoke()
        feature: NDArray[np.float32] = interpreter.get_tensor(target).ravel()
        return feature

    return Opened("dynamic range int8" if job.dtype == "int8" else "", run)


def _ncnn(job: Job, pixels: Pixels) -> Opened:
    import ncnn

    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = job.threads
    for kind in ("fp16_packed", "fp16_storage", "fp16_arithmetic"):
        setattr(net.opt, f"use_{kind}", False)  # its choice on ARM
    weights = str(Path(job.model).with_suffix(".bin"))
    if net.load_param(job.model) or net.load_model(weights):
        raise RuntimeError(f"ncnn cannot read {job.model}")
    image = ncnn.Mat(pixels[0]).clone()  # a Mat does not keep the array that it looks into

    def run() -> NDArray[np.float32]:
        extractor = net.create_extractor()
        extractor.input("pixels", image)
        _, feature = extractor.extract("feature")
        return np.array(feature).ravel()

    return Opened("", run)


_RUNNERS: dict[str, Callable[[Job, Pixels], Opened]] = {
    "devit": _devit,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "litert": _litert,
    "ncnn": _ncnn,
}
