"""What the native engine takes: no allocation per image, no more memory than its weights."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from devit_iot.bench.models import random_array, random_image, random_tensors
from devit_iot.bundle.spec import BlockSpec, FusionSpec, SubVitSpec
from devit_iot.bundle.storage import Storage, as_stored
from devit_iot.bundle.writing import PartData, write_bundle
from devit_iot.export.reference import with_golden

COMPILER = shutil.which("c++")
ROOT = Path(__file__).parents[2]
SPEC = SubVitSpec(
    image_size=32, resize_size=32, patch_size=4, embed_dim=384, head_dim=64, prefix_tokens=1,
    blocks=(BlockSpec(6, 1536),) * 3,
)  # fmt: skip

# Counts what the C library hands out; operator new asks it too, and so does the interpreter for all
# but its small objects.
COUNTER = """
#include <atomic>
#include <cerrno>
#include <cstddef>
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
static std::atomic<long> calls;
long allocations() { return calls; }
void* malloc(std::size_t size) { ++calls; return __libc_malloc(size); }
void* calloc(std::size_t n, std::size_t size) { ++calls; return __libc_calloc(n, size); }
void* realloc(void* p, std::size_t size) { ++calls; return __libc_realloc(p, size); }
void* aligned_alloc(std::size_t to, std::size_t size) { ++calls; return __libc_memalign(to, size); }
int posix_memalign(void** p, std::size_t to, std::size_t size) {
  ++calls;
  return (*p = __libc_memalign(to, size)) ? 0 : ENOMEM;
}
}
"""

RUN = """
import ctypes, sys
from pathlib import Path
import numpy as np
from devit_iot.bundle.reading import Bundle
from devit_iot.engine.base import load_engine
def mib(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
import devit_iot.engine.native
before = mib("VmRSS")
engine = load_engine(Bundle(Path(sys.argv[1])).read_part(0), threads=2)
print(mib("VmHWM") - before)
if len(sys.argv) > 2:
    allocations = ctypes.CDLL(sys.argv[2]).allocations
    image = np.zeros((32, 32, 3), np.uint8)
    out = np.empty(384, np.float32)
    features = engine._vit.features
    for _ in range(2):  # the interpreter itself allocates in the first round
        first = allocations()
        for _ in range(20):
            features(image, out)
        count = allocations() - first
    print(count)
    np.empty(100_000)
    print(allocations() - first)
"""


@pytest.fixture(scope="module", params=["float32", "float16"])
def bundle(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    path = tmp_path_factory.mktemp("memory") / "bundle"
    rng = np.random.default_rng(0)
    storage: Storage = request.param
    weights = as_stored(SPEC, random_tensors(SPEC, 0), storage)
    part = PartData(SPEC, (0,), with_golden(SPEC, weights, random_image(SPEC)), storage)
    wanted = FusionSpec(1, (SPEC.feature_dim,)).tensors()
    fusion = {tensor.name: random_array(rng, tensor.shape) for tensor in wanted}
    write_bundle(path, name="m", classes=["a"], parts=[part], fusion=fusion, provenance={})
    return path


def run(*arguments: Path, env: Mapping[str, str] | None = None) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(env or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [float(line) for line in done.stdout.split()]


def test_a_part_takes_the_memory_of_its_weights(bundle: Path) -> None:
    size = (bundle / "part-0.safetensors").stat().st_size / 2**20
    (grown,) = run(bundle)  # at the peak: the file's pages leave as they are packed
    assert size < grown < size + 7  # activations, one tensor, threads, golden image


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler to count allocations with")
def test_an_image_allocates_nothing(bundle: Path, tmp_path: Path) -> None:
    source, library = tmp_path / "counter.cc", tmp_path / "counter.so"
    source.write_text(COUNTER)
    subprocess.run(
        [str(COMPILER), "-shared", "-fPIC", str(source), "-o", str(library)],
        check=True,
    )
    _, per_image, control = run(bundle, library, env={"LD_PRELOAD": str(library)})
    assert per_image == 0
    assert control > 0  # the counter counts
