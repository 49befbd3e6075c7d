"""How ``tests/golden/tflite`` was made: ``python -m tests.golden.make_tflite``, with litert-torch.

A bundle of a ViT, a DeiT and a CCT, and each part as a TFLite network: what boards in the field
hold. A runtime or an engine that cannot read them is found by ``tests/engine/test_tflite.py``.
"""

from devit_iot.engine.tflite_export import export_tflite
from tests.golden.make import GOLDEN
from tests.support.fleets import make_bundle

TFLITE = GOLDEN / "tflite"

if __name__ == "__main__":
    bundle = make_bundle(TFLITE)
    for part in range(len(bundle.manifest.parts)):
        export_tflite(bundle.read_part(part))
