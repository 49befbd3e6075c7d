"""The TFLite engine: on networks made by tests/golden/make_tflite.py, and as they are refused."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from devit_iot.bundle.manifest import file_entry
from devit_iot.bundle.reading import Bundle
from devit_iot.engine.base import load_engine
from devit_iot.engine.tflite_file import TfliteManifest, write_manifest
from devit_iot.errors import BundleError, EngineError
from devit_iot.export import reference
from devit_iot.programs import missing_core

GOLDEN = Path(__file__).parent.parent / "golden" / "tflite"
PARTS = pytest.mark.parametrize("part", [0, 1, 2], ids=["ViT", "DeiT", "CCT"])
TOLERANCE = 2e-6  # relative L2 error against float64; float32 itself rounds to 6e-8

pytest.importorskip("ai_edge_litert", reason="no TFLite runtime: pip install 'devit-iot[tflite]'")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The golden bundle, to be damaged."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "bundle"))


def refused(folder: Path, part: int = 0) -> str:
    with pytest.raises(BundleError) as caught:
        load_engine(Bundle(folder).read_part(part), name="tflite")
    return str(caught.value)


@PARTS
def test_features_are_those_of_float64(part: int) -> None:
    bundle = Bundle(GOLDEN)
    engine = load_engine(bundle.read_part(part), name="tflite", threads=1)
    spec, tensors = bundle.part(part).spec, bundle.read_part(part).tensors
    images = np.random.default_rng(part).integers(
        0, 256, (8, spec.image_size, spec.image_size, 3), np.uint8
    )
    images[0], images[1] = 0, 255
    wanted = reference.features(spec, tensors, images)
    found = np.stack([engine.features(image) for image in images])
    assert found.dtype == np.float32
    errors = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    assert errors.max() < TOLERANCE


def test_a_feature_is_not_overwritten_by_the_next() -> None:
    engine = load_engine(Bundle(GOLDEN).read_part(0), name="tflite")
    black = engine.features(np.zeros((12, 12, 3), np.uint8))
    kept = black.copy()
    assert (engine.features(np.full((12, 12, 3), 255, np.uint8)) != kept).any()
    np.testing.assert_array_equal(black, kept)


@pytest.mark.parametrize("threads", [1, 2])
def test_says_what_it_runs_on(threads: int) -> None:
    engine = load_engine(Bundle(GOLDEN).read_part(0), name="tflite", threads=threads)
    assert engine.name == "tflite"
    assert engine.detail.startswith("ai-edge-litert ")
    assert engine.detail.endswith(f", {threads} threads")


def test_an_image_of_another_shape_or_type_is_refused() -> None:
    engine = load_engine(Bundle(GOLDEN).read_part(0), name="tflite")
    wrongs: list[Any] = [np.zeros((12, 11, 3), np.uint8), np.zeros((12, 12, 3), np.float32)]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="Cannot set tensor"):
            engine.features(wrong)


def test_an_instruction_set_cannot_be_forced() -> None:
    with pytest.raises(EngineError, match="chooses its own instruction set, 'neon' cannot"):
        load_engine(Bundle(GOLDEN).read_part(0), name="tflite", isa="neon")


@pytest.mark.parametrize("suffix", ["", ".json"])
def test_a_missing_file_is_named_with_the_command_that_makes_it(copy: Path, suffix: str) -> None:
    (copy / f"part-1.tflite{suffix}").unlink()
    message = refused(copy, 1)
    assert message.startswith(f"{copy}/part-1.tflite{suffix} is missing")
    assert f"devit bundle export-tflite {copy} --part 1" in message


def test_a_network_of_another_part_is_refused(copy: Path) -> None:
    for suffix in ("", ".json"):
        shutil.copy(copy / f"part-1.tflite{suffix}", copy / f"part-0.tflite{suffix}")
    assert "was made of other weights than those of part 0" in refused(copy)


@pytest.mark.parametrize("change", ["cut", "flipped", "swapped"])
def test_a_damaged_network_never_reaches_the_runtime(
    copy: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devit_iot.engine.tflite.Interpreter", None)
    model = copy / "part-0.tflite"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    changes = {
        "cut": bytes(content[:100]),
        "flipped": bytes(content),
        "swapped": (copy / "part-1.tflite").read_bytes(),
    }
    model.write_bytes(changes[change])
    assert "is not the file that part-0.tflite.json names" in refused(copy)


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "cannot be read"), (b"{}", "cannot be read"), (b"[1, 2", "cannot be read")],
)
def test_a_manifest_that_does_not_parse_is_refused(copy: Path, content: bytes, word: str) -> None:
    (copy / "part-0.tflite.json").write_bytes(content)
    assert word in refused(copy)


def test_a_manifest_of_another_version_is_refused(copy: Path) -> None:
    path = copy / "part-0.tflite.json"
    manifest = msgspec.json.decode(path.read_bytes(), type=TfliteManifest)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, version=2)))
    assert "is of devit-tflite 2, not of devit-tflite 1" in refused(copy)


@pytest.mark.parametrize("obstacle", ["part-0.tflite", "part-0.tflite.json"])
def test_a_manifest_that_cannot_be_written_is_a_line(copy: Path, obstacle: str) -> None:
    (copy / obstacle).unlink()
    (copy / obstacle).mkdir()
    with pytest.raises(BundleError, match=r"no manifest of .*part-0\.tflite can be written"):
        write_manifest(Bundle(copy).read_part(0))


def vouch(folder: Path, content: bytes) -> None:
    """Make ``content`` the network of part 0, manifest and all."""
    model, path = folder / "part-0.tflite", folder / "part-0.tflite.json"
    model.write_bytes(content)
    manifest = msgspec.json.decode(path.read_bytes(), type=TfliteManifest)
    path.write_bytes(
        msgspec.json.encode(msgspec.structs.replace(manifest, model=file_entry(model)))
    )


def test_a_network_that_computes_something_else_fails_the_golden_check(copy: Path) -> None:
    model = (copy / "part-0.tflite").read_bytes()
    weight = Bundle(copy).read_part(0).tensors["blocks.0.mlp.fc1.weight"].tobytes()
    assert model.count(weight) == 1
    vouch(copy, model.replace(weight, bytes(len(weight))))
    with pytest.raises(EngineError, match="fails the golden check"):
        load_engine(Bundle(copy).read_part(0), name="tflite")


def test_a_network_of_another_shape_is_refused(copy: Path) -> None:
    vouch(copy, (copy / "part-1.tflite").read_bytes())
    with pytest.raises(EngineError, match=r"expected one tensor float32\(8,\), the file has"):
        load_engine(Bundle(copy).read_part(0), name="tflite")


def run(code: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    paths = [str(path)] if path else []
    paths += [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(paths)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


WITHOUT_KERNELS = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "devit_iot._core":
            raise ImportError("there are no kernels here")
sys.meta_path.insert(0, Missing())
"""


def test_a_board_without_our_kernels_serves() -> None:
    """The node itself: images in, features out, over the in-process broker."""
    code = f"""{WITHOUT_KERNELS}
from pathlib import Path
from devit_iot.bundle.reading import Bundle
from devit_iot.cli import aggregate, devit, node
from devit_iot.engine.base import load_engine
from devit_iot.transport.memory import MemoryBroker
from tests.support.fleets import image_file, wait_until
from tests.support.running import features, make_node, node_status, running
bundle, broker = Bundle(Path({str(GOLDEN)!r})), MemoryBroker()
engine = load_engine(bundle.read_part(2), name="tflite", threads=1)
with running(make_node(broker, bundle, 2, engine=engine)):
    wait_until(lambda: broker.retained)  # connected
    broker.publish("cameras/a/image", image_file(0), retain=False)
    wait_until(lambda: features(broker))
print(features(broker)[0].values.size, "devit_iot._core" in sys.modules)
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["14", "False"]  # the length of part 2's feature


def test_without_our_kernels_the_native_engine_names_the_other_one() -> None:
    code = f"""{WITHOUT_KERNELS}
from pathlib import Path
from devit_iot.bundle.reading import Bundle
from devit_iot.engine.base import load_engine
load_engine(Bundle(Path({str(GOLDEN)!r})).read_part(0))
"""
    error = run(code).stderr.splitlines()[-1]
    assert "there are no kernels here" in error
    assert missing_core() in error


LOAD = f"""
import sys
sys.modules["ai_edge_litert"] = None  # not installed
from pathlib import Path
from devit_iot.bundle.reading import Bundle
from devit_iot.engine.base import load_engine
load_engine(Bundle(Path({str(GOLDEN)!r})).read_part(0), name="tflite", threads=3)
"""


def test_without_a_runtime_the_extra_is_named() -> None:
    error = run(f"import sys; sys.modules['tflite_runtime'] = None\n{LOAD}").stderr.splitlines()[-1]
    assert error.startswith("devit_iot.errors.EngineError: engine 'tflite' cannot be loaded")
    assert error.endswith("pip install 'devit-iot[tflite]'")


WRONG_RUNTIME = """
import numpy as np
class Interpreter:
    def __init__(self, model_path, num_threads):
        pass
    def allocate_tensors(self):
        pass
    def get_input_details(self):
        return [{"index": 0, "shape": np.array([12, 12, 3]), "dtype": np.uint8}]
    def get_output_details(self):
        return [{"index": 1, "shape": np.array([8]), "dtype": np.float32}]
    def set_tensor(self, index, image):
        pass
    def invoke(self):
        pass
    def get_tensor(self, index):
        return np.ones(8, np.float32)
"""


def test_a_runtime_that_is_silently_wrong_is_found_by_the_golden_check(tmp_path: Path) -> None:
    """The runtime here is tflite-runtime, which is taken where ai-edge-litert is missing."""
    package, info = tmp_path / "tflite_runtime", tmp_path / "tflite_runtime-2.14.0.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text(WRONG_RUNTIME)
    (info / "METADATA").write_text("Name: tflite-runtime\nVersion: 2.14.0\n")
    error = run(LOAD, tmp_path).stderr.splitlines()[-1]
    assert "'tflite' (tflite-runtime 2.14.0, 3 threads) fails the golden check" in error
