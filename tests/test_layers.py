"""Imports only go down, heavy packages stay where they belong, and files stay small."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "devit_iot"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py*") if path.suffix in {".py", ".pyi"})
CSRC = sorted(path for path in (ROOT / "csrc").rglob("*") if path.suffix in {".h", ".cc"})
MAX_LINES = 400

# Top first. A module imports its own unit and what stands in rows below its own; units of one row
# are siblings. `access`, `config` and
# `homeassistant` stand above `topics`, whose rules they apply.
LAYERS = (
    {"cli"},
    {"services", "bench"},
    {"engine", "transport", "decompose", "fleet"},
    {"bundle"},
    {"tensor_file"},
    {"storage"},
    {"_core"},
    {"access", "config", "homeassistant"},
    {"presets"},
    {"spec", "messages", "image_message", "other_image", "topics", "signature"},
    {"text", "text_file", "programs", "keys", "limits"},
    {"errors"},
    {"__init__"},
)
# Package -> the files or folders that may import it.
CONFINED = {
    "torch": ("decompose/", "engine/torch.py", "engine/tflite_export.py"),
    "litert_torch": ("engine/tflite_export.py",),
    "ai_edge_litert": ("engine/tflite.py", "bench/"),
    "flatbuffers": ("bench/tflite_writer.py",),
    "onnx": ("bench/onnx_writer.py",),
    "onnxruntime": ("bench/runners.py",),
    "openvino": ("bench/",),
    "ncnn": ("bench/runners.py",),
    "tflite_runtime": ("engine/tflite.py",),
    "paho": ("transport/",),
    "amqtt": ("transport/embedded_broker.py",),
    # digits.py encodes, mosaics.py unpacks a data set; neither decodes an image to serve
    "PIL": (
        "engine/image.py",
        "decompose/digits.py",
        "decompose/mosaics.py",
        "decompose/pixels.py",
        "other_image.py",
    ),
    "cryptography": ("signature.py", "fleet/"),
    "cv2": ("services/video.py",),
    "sklearn": ("decompose/digits.py",),
    "scipy": ("decompose/",),
    "accelerate": ("decompose/",),
    "kornia": ("decompose/augment.py",),
    "matplotlib": ("decompose/figures", "bench/picture.py"),
    "rich": ("decompose/", "cli/"),
    "prometheus_client": ("services/exporter.py",),
    "safetensors": ("decompose/",),
    "devit_iot._core": (
        "engine/native.py",
        "engine/image.py",
        "cli/",
        "services/build.py",
        "services/doctor/board.py",
        "bench/compare.py",
    ),
    "devit_iot.decompose": ("decompose/", "bench/", "cli/"),
    "devit_iot.fleet": ("fleet/", "cli/fleet.py"),
}


def unit(module: str) -> str:
    """`devit_iot.engine.image` -> `engine`; `devit_iot` itself -> `__init__`."""
    return [*module.split("."), "__init__"][1]


def row(name: str) -> int:
    (index,) = (i for i, units in enumerate(LAYERS) if name in units)
    return index


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            yield module
            for alias in node.names:  # `from devit_iot import messages` names a module
                base = ROOT / module.replace(".", "/") / alias.name
                if base.is_dir() or base.with_suffix(".py").exists() or alias.name == "_core":
                    yield f"{module}.{alias.name}"


def is_below(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_check() -> None:
    assert {"cli", "services", "bench", "engine", "transport", "decompose"} <= {
        p.parent.name for p in SOURCES
    }
    assert len(CSRC) > 10
    assert "devit_iot.bundle" in set(imports(PACKAGE / "engine/base.py"))
    assert "devit_iot.messages" in set(imports(PACKAGE / "services/node.py"))
    assert "devit_iot._core" in set(imports(PACKAGE / "engine/native.py"))


@pytest.mark.parametrize("path", SOURCES, ids=identify)
def test_imports_go_down(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    own = relative.parts[0] if len(relative.parts) > 1 else path.stem
    ours = [module for module in imports(path) if is_below(module, "devit_iot")]
    up = [m for m in ours if unit(m) != own and row(unit(m)) <= row(own)]
    assert up == []


@pytest.mark.parametrize("path", SOURCES, ids=identify)
def test_confined_packages_stay_where_they_belong(path: Path) -> None:
    relative = path.relative_to(PACKAGE).as_posix()
    found = set(imports(path))
    for package, homes in CONFINED.items():
        if any(is_below(module, package) for module in found):
            assert relative.startswith(homes), f"{relative} imports {package}"


@pytest.mark.parametrize("path", [*SOURCES, *CSRC], ids=identify)
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize(
    "module",
    [
        "devit_iot.services.node",
        "devit_iot.services.aggregator",
        "devit_iot.services.build",
        "devit_iot.cli.node",
        "devit_iot.cli.aggregate",
    ],
)
def test_a_board_loads_no_extra(module: str) -> None:
    extras = {"torch", "kornia", "sklearn", "scipy", "rich", "amqtt", "cv2"}
    extras |= {"cryptography", "devit_iot.decompose"}
    code = f"import {module}, sys; print(*(sys.modules.keys() & {extras!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join([str(ROOT), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("given", [{}, {"OPENBLAS_NUM_THREADS": "3"}])
def test_services_fuse_on_one_core_unless_told_otherwise(given: dict[str, str]) -> None:
    """Set before numpy, which reads it once."""
    code = (
        "import sys, os, devit_iot.cli; assert 'numpy' not in sys.modules;"
        "print(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join([str(ROOT), *filter(None, sys.path)]), **given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [given.get("OPENBLAS_NUM_THREADS", "1")]
