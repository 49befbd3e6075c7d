"""Imports only go down, heavy packages stay where they belong, and files stay small."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.layers import LAYERS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "devit_iot"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py*") if path.suffix in {".py", ".pyi"})
CSRC = sorted(path for path in (ROOT / "csrc").rglob("*") if path.suffix in {".h", ".cc"})
MAX_LINES = 400

# Package -> the files or folders that may import it.
CONFINED = {
    "torch": (
        "decompose/",
        "engine/torch.py",
        "engine/tflite_export.py",
        "export/torch_file.py",
    ),
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
    # datasets/ encodes and unpacks whole data sets; only engine/image.py decodes to serve
    "PIL": ("engine/image.py", "datasets/"),
    "cryptography": ("bundle/signature.py", "fleet/", "trust/metadata.py"),
    "tuf": ("trust/metadata.py", "updates/verifier.py"),
    "securesystemslib": ("trust/metadata.py", "fleet/update_keys.py"),
    "cv2": ("camera/video.py",),
    "sklearn": ("datasets/digits.py", "teach/fit.py"),
    "scipy": ("decompose/", "planning/exact.py"),
    "accelerate": ("decompose/",),
    "kornia": ("decompose/training/augment.py",),
    "matplotlib": (
        "decompose/report/",
        "bench/picture.py",
        "figures/",
        "planning/picture.py",
        "teach/figures.py",
    ),
    "rich": ("decompose/", "cli/"),
    "prometheus_client": ("service/exporter.py",),
    "starlette": ("hub/server.py", "hub/http_thread.py"),
    "uvicorn": ("hub/http_thread.py",),
    "safetensors": ("decompose/", "export/"),
    "devit_iot._core": (
        "engine/native.py",
        "engine/image.py",
        "cli/",
        "build_managed.py",
        "build.py",
        "doctor/board.py",
        "bench/compare.py",
        "bench/measure_board.py",
    ),
    "devit_iot.decompose": ("decompose/", "cli/decompose.py", "cli/plan_family.py"),
    "devit_iot.fleet": ("fleet/", "cli/"),
    "devit_iot.hub": ("hub/", "cli/"),
}


def unit(module: str) -> str:
    """The room of a module: `devit_iot.engine.image` -> `engine`."""
    first, *rest = [*module.split(".")[1:], "__init__"]
    return f"{first}.{rest[0]}" if first == "decompose" and rest[0] != "__init__" else first


def row(name: str) -> int:
    (index,) = (i for i, layer in enumerate(LAYERS) if name in layer.rooms)
    return index


def module_of(path: Path) -> str:
    """`devit_iot/engine/image.py` -> `devit_iot.engine.image`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


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
    rooms = {room.split(".")[0] for layer in LAYERS for room in layer.rooms}
    there = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()}
    assert there - {"__pycache__", "py", "_core.cpython-311-x86_64-linux-gnu"} >= rooms - {"_core"}
    assert len(CSRC) > 10
    assert "devit_iot.bundle.reading" in set(imports(PACKAGE / "engine/base.py"))
    assert "devit_iot.protocol.status" in set(imports(PACKAGE / "node/node.py"))
    assert "devit_iot._core" in set(imports(PACKAGE / "engine/native.py"))


@pytest.mark.parametrize("path", SOURCES, ids=identify)
def test_imports_go_down(path: Path) -> None:
    own = unit(module_of(path))
    if own == "decompose":  # the package itself, which imports nothing
        assert not [module for module in imports(path) if is_below(module, "devit_iot")]
        return
    ours = [module for module in imports(path) if is_below(module, "devit_iot")]
    packages = {"devit_iot.decompose", "devit_iot._version"}  # the build writes the version
    up = [m for m in ours if m not in packages and unit(m) != own and row(unit(m)) <= row(own)]
    assert up == []


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; empty if none do."""
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other() -> None:
    """Not within a room either, and not inside functions."""
    modules = {module_of(path): path for path in SOURCES if path.suffix == ".py"}
    graph = {name: set(imports(path)) & modules.keys() - {name} for name, path in modules.items()}
    assert circle(graph) == []
    first = next(iter(graph["devit_iot.node.node"]))
    assert circle(graph | {first: {"devit_iot.node.node"}})  # a planted circle is seen


def test_the_drawing_is_that_of_the_table() -> None:
    command = [sys.executable, "-P", str(ROOT / "scripts/layers_drawing.py"), "--check"]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(ROOT / "scripts")})


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
        "devit_iot.node.node",
        "devit_iot.aggregator.aggregator",
        "devit_iot.build",
        "devit_iot.build_aggregator",
        "devit_iot.cli.node",
        "devit_iot.cli.aggregate",
    ],
)
def test_a_board_loads_no_extra(module: str) -> None:
    extras = {"torch", "kornia", "sklearn", "scipy", "rich", "amqtt", "cv2", "uvicorn"}
    extras |= {"cryptography", "tuf", "devit_iot.decompose"}
    code = f"import {module}, sys; print(*(sys.modules.keys() & {extras!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join([str(ROOT), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("module", "others"),
    [
        ("devit_iot.cli.node", ("trust", "updates")),
        ("devit_iot.build_managed", ()),
    ],
)
def test_a_node_loads_no_other_service(module: str, others: tuple[str, ...]) -> None:
    """Each module costs a small board milliseconds of every start."""
    rooms = ("aggregator", "collect", "dashboard", "homeassistant", "hub", "monitor", "planning")
    code = f"import {module}, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join([str(ROOT), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    names = [name.split(".")[1] for name in loaded if name.startswith("devit_iot.")]
    assert not set(names) & {*rooms, "teach", "evaluation", *others}
    assert not set(loaded) & {"difflib", "wsgiref.simple_server"}


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


def test_no_test_imports_from_a_test() -> None:
    """What tests share is in tests/support, or in a module beside them."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        named = [module.split(".") for module in imports(path)]
        assert not [m for m in named if m[0] == "tests" and m[-1].startswith("test_")], path


PRIVATE_PATCH = re.compile(r"""setattr\(\s*[^,()]+,\s*["']_+[A-Z]""")


def test_no_test_patches_a_private_constant() -> None:
    """A cadence or limit that a test shortens is a parameter or a public constant."""
    assert PRIVATE_PATCH.search('monkeypatch.setattr(module, "_PAUSE_S", 0.1)')
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path != Path(__file__):
            assert not PRIVATE_PATCH.search(path.read_text()), path
