"""Every engine that a benchmark knows: what it needs, and how its model files are made."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from devit_iot.bench.graph import describe
from devit_iot.bundle.spec import FusionSpec, SubVitSpec
from devit_iot.bundle.storage import Array, Dtype, as_stored
from devit_iot.bundle.writing import PartData, write_bundle
from devit_iot.errors import ConfigError

OURS = "devit"


class Source(NamedTuple):
    """A part of a bundle, as writers of model files see it; its golden pair too."""

    spec: SubVitSpec
    tensors: Mapping[str, Array]


class Peer(NamedTuple):
    """One engine.

    Attributes:
        distribution: package whose version is shown; also what pip installs.
        modules: Python modules that must be there to run it and to write its file.
        dtypes: element types that it computes in.
        layout: order of the pixels' axes that it takes; empty for the decoded image itself.
        write: writes the model into an empty folder and returns the path to open.
    """

    distribution: str
    modules: tuple[str, ...]
    dtypes: tuple[Dtype, ...]
    layout: str
    write: Callable[[Source, Path, Dtype], Path]

    def instead_of(self, dtype: Dtype) -> Dtype:
        """What it computes in beside an engine that computes in ``dtype``."""
        return "float32" if dtype == "float16" and dtype not in self.dtypes else dtype

    def lacks(self, dtype: Dtype) -> str:
        """Why it cannot take part; empty if it can."""
        missing = [name for name in self.modules if find_spec(name) is None]
        if missing:
            return f"not installed (no {', no '.join(missing)}): pip install 'devit-iot[bench]'"
        if dtype not in self.dtypes:
            return f"has only {' and '.join(self.dtypes)} here"
        return ""


def _bundle(source: Source, folder: Path, dtype: Dtype) -> Path:
    """A bundle of one part, stored in what it is computed in."""
    tensors = {**source.tensors, **as_stored(source.spec, source.tensors, dtype)}
    part = PartData(source.spec, (0,), tensors, dtype)
    fusion = {
        tensor.name: np.zeros(tensor.shape, np.float32)
        for tensor in FusionSpec(1, (source.spec.feature_dim,)).tensors()
    }
    path = folder / "bundle"
    write_bundle(path, name=OURS, classes=["any"], parts=[part], fusion=fusion, provenance={})
    return path


def _onnx(source: Source, folder: Path, dtype: Dtype) -> Path:
    from devit_iot.bench.onnx_writer import OnnxWriter

    graph, path = OnnxWriter(source.spec, int8=dtype == "int8"), folder / "model.onnx"
    graph.save(describe(source.spec, source.tensors, graph), path)
    return path


def _openvino(source: Source, folder: Path, dtype: Dtype) -> Path:
    """OpenVINO's own format, as its users deploy it: it starts faster and takes less memory."""
    import openvino

    model = openvino.convert_model(_onnx(source, folder, dtype))
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return folder / "model.xml"


def _ncnn(source: Source, folder: Path, dtype: Dtype) -> Path:
    from devit_iot.bench.ncnn_writer import NcnnWriter

    del dtype
    graph, path = NcnnWriter(source.spec), folder / "model.param"
    graph.save(describe(source.spec, source.tensors, graph), path)
    return path


def _tflite(source: Source, folder: Path, dtype: Dtype) -> Path:
    from devit_iot.bench.tflite_writer import TfliteWriter

    graph, path = TfliteWriter(source.spec, int8=dtype == "int8"), folder / "model.tflite"
    graph.save(describe(source.spec, source.tensors, graph), path)
    return path


ENGINES = {
    OURS: Peer("devit-iot", (), ("float32", "float16", "int8"), "", _bundle),
    "onnxruntime": Peer("onnxruntime", ("onnxruntime", "onnx"), ("float32", "int8"), "NCHW", _onnx),
    "openvino": Peer("openvino", ("openvino", "onnx"), ("float32",), "NCHW", _openvino),
    "litert": Peer("ai-edge-litert", ("ai_edge_litert",), ("float32", "int8"), "NHWC", _tflite),
    "ncnn": Peer("ncnn", ("ncnn",), ("float32",), "NCHW", _ncnn),
}
"""Name -> engine, ours first. How each is opened: :mod:`devit_iot.bench.runners`."""


def chosen(names: str) -> tuple[str, ...]:
    """The peers that a comma-separated list names; all if it is empty.

    Raises:
        ConfigError: one is unknown.
    """
    known = [name for name in ENGINES if name != OURS]
    wanted = [name.strip() for name in names.split(",")] if names else known
    for name in wanted:
        if name not in known:
            raise ConfigError(f"no peer '{name}'; there are: {', '.join(known)}")
    return tuple(dict.fromkeys(wanted))
