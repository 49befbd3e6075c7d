"""``devit bundle export-tflite``: through litert-torch, where it is installed."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from devit_iot.bundle.reading import Bundle
from devit_iot.cli.devit import main
from devit_iot.engine.base import load_engine
from devit_iot.export import reference
from tests.support.fleets import make_bundle

TOLERANCE = 2e-6  # relative L2 error against float64
needs_litert_torch = pytest.mark.skipif(
    importlib.util.find_spec("litert_torch") is None,
    reason="litert-torch (2.1 GB) is not installed: pip install 'devit-iot[tflite-export]'",
)


@needs_litert_torch
def test_a_vit_a_deit_and_a_cct_keep_their_features(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", seed=5)
    # Another process: importing litert-torch changes what warnings and torch do.
    command = "from devit_iot.cli.devit import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "bundle", "export-tflite", str(bundle.path)],
        env={"PYTHONPATH": ":".join([str(Path(__file__).parents[2]), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"part-\d\.tflite: sound on tflite \(ai-edge-litert", done.stdout)) == 3
    assert Bundle(bundle.path).manifest == bundle.manifest  # the fingerprint too
    for part in range(3):
        spec, tensors = bundle.part(part).spec, bundle.read_part(part).tensors
        engine = load_engine(bundle.read_part(part), name="tflite", threads=1)
        images = np.random.default_rng(part).integers(0, 256, (4, 12, 12, 3), np.uint8)
        wanted = reference.features(spec, tensors, images)
        found = np.stack([engine.features(image) for image in images])
        assert np.linalg.norm(found - wanted) < TOLERANCE * np.linalg.norm(wanted)


def test_without_litert_torch_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    monkeypatch.delitem(sys.modules, "devit_iot.engine.tflite_export", raising=False)
    done = CliRunner().invoke(main, ["bundle", "export-tflite", str(tmp_path)])
    assert done.exit_code == 1
    assert "pip install 'devit-iot[tflite-export]'" in done.output
