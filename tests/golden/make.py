"""What the golden files hold, and how they were made: `python -m tests.golden.make`.

They are the wire format of version 1 and the disk formats of versions 2 to 4. A test that finds
them changed means that boards in the field cannot be read any more: raise the version, do not make
the files again.
"""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from devit_iot.bundle.head import Fit, Head
from devit_iot.bundle.head_writing import write_head
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import (
    BlockSpec,
    ConvSpec,
    FusionSpec,
    Resize,
    SubVitSpec,
    TensorSpec,
    View,
)
from devit_iot.bundle.storage import Array, Storage, as_stored
from devit_iot.bundle.writing import PartData, write_bundle
from devit_iot.protocol.board import BoardProfile, Speed, Speeds
from devit_iot.protocol.crop import CameraCrops, Crop, CropOrder, CropPlan
from devit_iot.protocol.feature import Feature, Timing
from devit_iot.protocol.head_message import HeadMessage, HeadReport, HeadsReport
from devit_iot.protocol.hub_status import HubStatus
from devit_iot.protocol.json_message import JsonMessage
from devit_iot.protocol.label import Label, Ranked
from devit_iot.protocol.release import Release, ReleaseHead, Rollout, UpdateStatus
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.protocol.steady_state import SteadyState
from devit_iot.protocol.teaching import TeachState

GOLDEN = Path(__file__).parent
FILES = [*(f"part-{index}.safetensors" for index in range(3)), "fusion.safetensors"]
BUNDLE_FINGERPRINT = "e313a4ffd4ebdddb"
VIEWS_FINGERPRINT = "371de594905bd47f"
HEAD_FINGERPRINT = "ee7ddd47af5e81ca"
RESIZES_FINGERPRINT = "788128f315414f80"
PARTS_FINGERPRINTS = {
    "bundle": "2058ee504fc48ccd",
    "bundle-3": "9a0c9c0dcf701d48",
    "bundle-4": "b3ae74736a675ec6",
}

FEATURE = Feature(
    request_id=bytes(range(16)),
    fingerprint=bytes.fromhex("a1b2c3d4e5f60718"),
    part=2,
    parts=4,
    camera="entrée",
    received_ms=1_700_000_000_123,
    timing=Timing(wait_us=1, decode_us=20_000, compute_us=300_000),
    values=np.array([0.0, 1.0, -2.0, 0.333251953125, 65504.0], np.float32),
)
LABEL = Label(
    request_id="000102030405060708090a0b0c0d0e0f",
    camera="entrée",
    label="cat",
    class_index=3,
    confidence=0.75,
    top5=(Ranked("cat", 3, 0.75), Ranked("dog", 5, 0.25)),
    parts_used=(0, 2),
    parts=4,
    degraded=True,
    latency_ms={"wait": 0.001, "decode": 20.0, "compute": 300.0, "collect": 12.5, "fuse": 0.25},
)
NODE_STATUS = NodeStatus(
    state="online",
    fingerprint="a1b2c3d4e5f60718",
    parts=4,
    version="0.1.0",
    uptime_s=12.5,
    unsent=1,
    refused={"damaged": 2},
    node="pi-1",
    part=2,
    replica="0/2",
    engine="native neon, 4 threads",
    machine="aarch64",
    received=100,
    published=97,
    dropped=1,
    lost=0,
    decode_ms=3.5,
    compute_ms=41.25,
)
AGGREGATOR_STATUS = AggregatorStatus(
    state="offline",
    fingerprint="a1b2c3d4e5f60718",
    parts=4,
    version="0.1.0",
    uptime_s=60.0,
    unsent=0,
    refused={},
    shard="0/1",
    features=388,
    labels=97,
    degraded=3,
    late=2,
    duplicate=1,
    dropped=0,
    parts_online=(0, 1, 2),
)
# The fields that came later; the messages above are what earlier services say and read.
NODE_STATUS_2 = msgspec.structs.replace(
    NODE_STATUS,
    problem="the broker refuses what we publish: not authorized",
    dropped=3,
    drops={"entrée": {"overload": 2, "age": 1}},
    unfinished=4,
    redelivered=5,
    deferred=6,
)
NODE_STATUS_3 = msgspec.structs.replace(NODE_STATUS_2, temperature_c=61.5, throttled=False)
NODE_STATUS_4 = msgspec.structs.replace(
    NODE_STATUS_3,
    parts_fingerprint="0f1e2d3c4b5a6978",
    board=BoardProfile(
        "pi-1",
        "aarch64",
        cores=4,
        threads=4,
        isas=("neon_dotprod", "neon", "scalar"),
        memory_mib=1400,
        overhead_mib=871,
        fma_gflops=38.5,
        decode_ms=4.75,
        message_ms=3.25,
        link_mbps=900.0,
        link_ms=0.5,
        watts=7.5,
        speed=Speeds(float32=Speed(18.5, 20.25, 0.25, 0.125), int8=Speed(7.5, 20.5, 0.25, 0.0)),
        note="measured by devit bench --profile, neon_dotprod",
    ),
)
CROP_PLAN = CropPlan(
    cameras={
        "entrée": CameraCrops(crops=(CropOrder(32768, 16384, 16384, 8192, one_in=5),)),
        "*": CameraCrops(whole=False, crops=(CropOrder(0, 0, 65535, 65535),)),
    }
)
NODE_STATUS_5 = msgspec.structs.replace(
    NODE_STATUS_4,
    replica="auto",
    crops=51,
    spared=9,
    cpu_s=5.25,
    shares=True,
    replicas=2,
    pinned=2,
)
NODE_STATUS_6 = msgspec.structs.replace(NODE_STATUS_5, energy_j=1830.125, energy_from="pmic")
NODE_STATUS_7 = msgspec.structs.replace(NODE_STATUS_6, repeated=12)
HUB_STATUS = HubStatus(
    state="online",
    installed_version="7",
    latest_version="8",
    in_progress=True,
    update_percentage=45,
    release_summary="bundle 0123456789abcdef; release 8 is under way",
    paused=True,
)
FEATURE_2 = msgspec.structs.replace(FEATURE, parts_fingerprint=bytes.fromhex("0f1e2d3c4b5a6978"))
FEATURE_3 = msgspec.structs.replace(FEATURE_2, crop=Crop(32768, 16384, 16384, 8192))
LABEL_2 = msgspec.structs.replace(LABEL, head="gate", head_version="9f8e7d6c5b4a3928")
AGGREGATOR_STATUS_2 = msgspec.structs.replace(
    AGGREGATOR_STATUS, deadline_s=0.25, unanswered=7, unfinished=8
)
AGGREGATOR_STATUS_3 = msgspec.structs.replace(AGGREGATOR_STATUS_2, early=11, cpu_s=0.75)
LABEL_3 = msgspec.structs.replace(LABEL_2, fingerprint="a1b2c3d4e5f60718")
LABEL_4 = msgspec.structs.replace(LABEL_3, degraded=False, early=True)
RELEASE = Release(
    number=7,
    fingerprint="a1b2c3d4e5f60718",
    manifest="ab" * 32,
    manifest_size=4096,
    parts=2,
    signature="cd" * 64,
    members={"pi-1": 0, "pi-2": 1},
)
ROLLOUT = Rollout(
    url="https://hub.local:8484",
    current=RELEASE,
    next=msgspec.structs.replace(RELEASE, number=8, fingerprint="0123456789abcdef", signature=""),
    activate=True,
    canary="pi-1",
    paused=True,
)
RELEASE_2 = msgspec.structs.replace(
    RELEASE,
    heads=(ReleaseHead("gate", "ab" * 32, 1234, "cd" * 64), ReleaseHead("post", "0" * 64, 9)),
)
ROLLOUT_2 = Rollout(url="https://hub.local:8484", current=RELEASE_2)
HEAD_MESSAGE = HeadMessage(
    "0123abcd",
    "ee7ddd47af5e81ca",
    ("door", "tür"),
    b'{"format": "devit-head"}',
    b"\x00\xff",
    b"\x01",
)
HEADS_REPORT = HeadsReport(
    (
        HeadReport("gate", "ee7ddd47af5e81ca", "f" * 16, ("door",), 2, 20, 0.75, "0123abcd", ""),
        HeadReport("post", push="00000001", problem="head 'post' belongs to other parts"),
    )
)
TEACH_STATE = TeachState(
    collecting=True,
    cameras={"door": 120, "tür": 3},
    size=1_000_000,
    last=200,
    least_certain=100,
    max_mib=512,
    max_days=30,
    can_fit=True,
    problem="the disk is full",
    dropped=4,
    refused={"damaged": 1},
)
UPDATE_STATUS = UpdateStatus(
    release=8,
    fingerprint="0123456789abcdef",
    state="DOWNLOADING",
    part=1,
    progress=0.625,
    attempt=2,
    error="the hub is away",
    serving=7,
    trial=False,
)
STEADY_STATE = SteadyState(
    camera="entrée",
    head="gate",
    state="open",
    class_index=1,
    since=datetime(2026, 5, 1, 7, 30, 11, 250_000, UTC),
    before="closed",
    confidence=0.9375,
    request_id="000102030405060708090a0b0c0d0e0f",
    head_version="9f8e7d6c5b4a3928",
    fingerprint="a1b2c3d4e5f60718",
    received_ms={0: 1_700_000_000_123, 2: 1_700_000_000_456},
)
EARLIER: dict[str, Label | NodeStatus | AggregatorStatus | Rollout] = {
    "rollout.json": ROLLOUT,
    "label.json": LABEL,
    "label_2.json": LABEL_2,
    "node_status.json": NODE_STATUS,
    "node_status_2.json": NODE_STATUS_2,
    "node_status_3.json": NODE_STATUS_3,
    "node_status_4.json": NODE_STATUS_4,
    "node_status_5.json": NODE_STATUS_5,
    "node_status_6.json": NODE_STATUS_6,
    "aggregator_status.json": AGGREGATOR_STATUS,
    "aggregator_status_2.json": AGGREGATOR_STATUS_2,
}
MESSAGES: dict[str, Feature | JsonMessage | HeadMessage] = {
    "feature.bin": FEATURE,
    "feature_2.bin": FEATURE_2,
    "feature_3.bin": FEATURE_3,
    "crop_plan.json": CROP_PLAN,
    "label_3.json": LABEL_3,
    "steady_state.json": STEADY_STATE,
    "label_4.json": LABEL_4,
    "rollout_2.json": ROLLOUT_2,
    "head_message.json": HEAD_MESSAGE,
    "heads_report.json": HEADS_REPORT,
    "teach_state.json": TEACH_STATE,
    "update_status.json": UPDATE_STATUS,
    "node_status_7.json": NODE_STATUS_7,
    "aggregator_status_3.json": AGGREGATOR_STATUS_3,
    "hub_status.json": HUB_STATUS,
}


def tiny_spec(blocks: int = 1, prefix_tokens: int = 1) -> SubVitSpec:
    return SubVitSpec(
        image_size=4,
        resize_size=5,
        patch_size=2,
        embed_dim=4,
        head_dim=2,
        prefix_tokens=prefix_tokens,
        blocks=tuple(BlockSpec(heads=1 + index % 2, mlp_dim=3 + index) for index in range(blocks)),
    )


def tiny_cct() -> SubVitSpec:
    return SubVitSpec(
        image_size=9,
        resize_size=9,
        patch_size=0,
        embed_dim=4,
        head_dim=2,
        prefix_tokens=0,
        blocks=(BlockSpec(heads=1, mlp_dim=3),),
        norm_eps=1e-5,
        tokenizer=(ConvSpec(3, 3, 1, 1), ConvSpec(4, 3, 1, 1)),
        residual_norm=True,
    )


def random_array(tensor: TensorSpec, rng: np.random.Generator) -> Array:
    if tensor.dtype == "uint8":
        return rng.integers(0, 256, tensor.shape, np.uint8)
    return rng.standard_normal(tensor.shape).astype(np.float32)


def random_part(
    spec: SubVitSpec,
    classes: tuple[int, ...],
    rng: np.random.Generator,
    storage: Storage = "float32",
) -> PartData:
    expected = (*spec.tensors(), *spec.golden_tensors())
    arrays = as_stored(spec, {t.name: random_array(t, rng) for t in expected}, storage)
    return PartData(spec, classes, arrays, storage)


def random_fusion(spec: FusionSpec, rng: np.random.Generator) -> dict[str, Array]:
    return {tensor.name: random_array(tensor, rng) for tensor in spec.tensors()}


def write_tiny(path: Path, seed: int = 0) -> Bundle:
    """Three classes; part 0 is a ViT of one block, part 1 a DeiT of two, part 2 a CCT in halves."""
    rng = np.random.default_rng(seed)
    parts = [
        random_part(tiny_spec(1), (0, 1), rng),
        random_part(tiny_spec(2, prefix_tokens=2), (2,), rng),
        random_part(tiny_cct(), (2,), rng, "float16"),
    ]
    dims = tuple(part.spec.feature_dim for part in parts)
    return write_bundle(
        path,
        name="tiny",
        classes=("ant", "bee", "cat"),
        parts=parts,
        fusion=random_fusion(FusionSpec(3, dims), rng),
        provenance={"made by": "tests/golden/make.py"},
    )


def write_views(path: Path) -> Bundle:
    """Two parts in version 3: one that sees a corner, one that sees everything."""
    rng = np.random.default_rng(3)
    corner = msgspec.structs.replace(tiny_spec(1), view=View(0.0, 0.25, 0.625, 0.75))
    parts = [random_part(corner, (0,), rng), random_part(tiny_spec(1), (1, 2), rng)]
    return write_bundle(
        path,
        name="views",
        classes=("ant", "bee", "cat"),
        parts=parts,
        fusion=random_fusion(FusionSpec(3, (4, 4)), rng),
        provenance={"made by": "tests/golden/make.py"},
    )


def write_resizes(path: Path) -> Bundle:
    """Three parts in version 4: squashed, with another filter and a view, and as ever."""
    rng = np.random.default_rng(4)
    squashed = msgspec.structs.replace(tiny_spec(1), resize=Resize("squash"))
    corner = msgspec.structs.replace(
        tiny_spec(1), view=View(0.0, 0.25, 0.625, 0.75), resize=Resize("crop", "bilinear")
    )
    parts = [random_part(spec, (0,), rng) for spec in (squashed, corner, tiny_spec(1))]
    return write_bundle(
        path,
        name="resizes",
        classes=("ant", "bee", "cat"),
        parts=parts,
        fusion=random_fusion(FusionSpec(3, (4, 4, 4)), rng),
        provenance={"made by": "tests/golden/make.py"},
    )


def write_gate(bundle: Bundle) -> Head:
    """A head of two classes, beside a bundle."""
    rng = np.random.default_rng(5)
    dims = bundle.manifest.fusion_spec.feature_dims
    return write_head(
        bundle,
        "gate",
        classes=("closed", "open"),
        tensors=random_fusion(FusionSpec(2, dims), rng),
        unknown=0.625,
        fit=Fit("by hand", (7, 9), 0.1, 0.75, 16, 0.9375),
        provenance={"made by": "tests/golden/make.py"},
    )


if __name__ == "__main__":
    for file_name, message in MESSAGES.items():
        (GOLDEN / file_name).write_bytes(message.encode())
    write_tiny(GOLDEN / "bundle")
    write_views(GOLDEN / "bundle-3")
    write_resizes(GOLDEN / "bundle-4")
    write_gate(Bundle(GOLDEN / "bundle"))
    (GOLDEN / "bundle/heads/gate").rename(GOLDEN / "head")
    (GOLDEN / "bundle/heads").rmdir()
