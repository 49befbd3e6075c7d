"""What is fuzzed: each target takes any bytes and raises only if there is a bug.

``tests/fuzz/test_targets.py`` feeds them with hypothesis in every test run, ``make fuzz`` with
atheris, guided by coverage.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from devit_iot.bundle import signature
from devit_iot.bundle.head import HeadManifest, decode_head, head_fingerprint
from devit_iot.bundle.manifest import Manifest, fingerprint_of
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.bundle.tensor_file import TensorFile
from devit_iot.camera.camera_url import scrubbed, without_password
from devit_iot.datasets.class_names import distinct, read_class_names
from devit_iot.engine.image import load_image
from devit_iot.errors import (
    BundleError,
    ConfigError,
    DataError,
    ImageError,
    MessageError,
    SpecError,
)
from devit_iot.export.beside import read_beside
from devit_iot.export.network import read_network
from devit_iot.homeassistant.devices import is_ours
from devit_iot.monitor.overview import Overview
from devit_iot.protocol.crop import CropPlan
from devit_iot.protocol.feature import Feature
from devit_iot.protocol.head_message import HeadMessage, HeadsReport
from devit_iot.protocol.image_message import unwrap_image
from devit_iot.protocol.json_message import JsonMessage
from devit_iot.protocol.label import Label
from devit_iot.protocol.release import Rollout, UpdateStatus
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from devit_iot.protocol.steady_state import SteadyState
from devit_iot.protocol.teaching import decode_ask
from devit_iot.protocol.text import is_camera, shown
from devit_iot.protocol.topics import ImageFilter, Topics
from devit_iot.transport.address import check_websocket_url, parse_url, websocket_of
from devit_iot.transport.base import Message
from tests.golden.make import GOLDEN
from tests.support import bombs
from tests.support.fleets import image_file

MAX_PIXELS = 10_000
MARK = "pa55word"
"""Stands for a password that must not be shown."""
SPEC = SubVitSpec(
    image_size=8,
    resize_size=9,
    patch_size=4,
    embed_dim=4,
    head_dim=4,
    prefix_tokens=1,
    blocks=(BlockSpec(1, 4),),
)
TOPICS = Topics("home")
FILTERS = tuple(
    map(ImageFilter, ("cameras/{camera}/image/{request}", "a/+/#", "frigate/{camera}/{camera}/x"))
)
READABLE = frozenset({"float32", "float16", "int8", "uint8"})
_FOLDER = Path(tempfile.mkdtemp(prefix="devit-fuzz-"))


class Target(NamedTuple):
    """A reader.

    Attributes:
        percent: share of the executions of ``make fuzz``, percent: fewer for slow targets.
        seeds: inputs that it likes.
    """

    read: Callable[[bytes], None]
    percent: int
    seeds: tuple[bytes, ...]


def feature(data: bytes) -> None:
    try:
        found = Feature.decode(data)
    except MessageError as error:
        _check_shown(error)
        return
    assert found.part < found.parts
    assert is_camera(found.camera)
    assert np.isfinite(found.values).all()
    again = Feature.decode(found.encode())
    assert again.encode() == found.encode()


def json_message(kind: type[JsonMessage], data: bytes) -> None:
    try:
        found = kind.decode(data)
    except MessageError as error:
        _check_shown(error)
        return
    assert kind.decode(found.encode()) == found


def head_message(data: bytes) -> None:
    try:
        found = HeadMessage.decode(data)
    except MessageError as error:
        _check_shown(error)
        return
    assert all(map(is_camera, found.cameras or ()))
    assert HeadMessage.decode(found.encode()) == found


def teach_ask(data: bytes) -> None:
    try:
        decode_ask(data)
    except MessageError as error:
        _check_shown(error)


def overview(data: bytes) -> None:
    """What screens make of it, whatever it is taken for."""
    fleet = Overview(TOPICS, 0.0)
    topics = (TOPICS.label("entrée"), TOPICS.node_status("pi-1"), TOPICS.aggregator_status(0))
    for topic_ in topics:
        fleet.take(Message(topic_, data, retained=False), 1.0)
    assert msgspec.json.encode(fleet.view(2.0))
    assert is_ours(data) in {True, False}


def image_message(data: bytes) -> None:
    try:
        file = unwrap_image(data)
    except ImageError as error:
        _check_shown(error)
    else:
        assert len(file) <= len(data)


def image(data: bytes) -> None:
    for take_incomplete in (False, True):
        try:
            pixels = load_image(data, SPEC, max_pixels=MAX_PIXELS, take_incomplete=take_incomplete)
        except ImageError as error:
            _check_shown(error)
        else:
            assert pixels.shape == (8, 8, 3)
            assert pixels.dtype == np.uint8


def topic(data: bytes) -> None:
    text = data.decode(errors="replace")
    for image_filter in FILTERS:
        try:
            route = image_filter.match(text)
        except MessageError as error:
            _check_shown(error)
        else:
            assert route is None or is_camera(route.camera)
    for prefix in ("devit/v1/home/features/0", "devit/v1/home/nodes"):
        name = text.replace("/", "_")  # the broker delivers one level
        try:
            assert TOPICS.node_of(f"{prefix}/{name}/status") == name
        except MessageError as error:
            _check_shown(error)


def manifest(data: bytes) -> None:
    """With the right fingerprint, or nothing behind that check would be seen."""
    try:
        found = msgspec.json.decode(data, type=Manifest)
        found = msgspec.structs.replace(found, fingerprint=fingerprint_of(found))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
        found = None
    path = _FOLDER / "bundle"
    path.mkdir(exist_ok=True)
    (path / "manifest.json").write_bytes(data if found is None else msgspec.json.encode(found))
    try:
        opened = Bundle(path)
        for part in opened.manifest.parts:
            for tensor in (*part.spec.tensors(), *part.spec.golden_tensors()):
                assert min(tensor.shape, default=1) > 0
        opened.verify()
    except (BundleError, SpecError) as error:
        _check_shown(error)


def head(data: bytes) -> None:
    """With the right fingerprint and folder, as above."""
    folder = _FOLDER / "0123456789abcdef"
    with contextlib.suppress(
        msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError
    ):
        found = msgspec.json.decode(data, type=HeadManifest)
        folder = _FOLDER / head_fingerprint(found)
        data = msgspec.json.encode(msgspec.structs.replace(found, fingerprint=folder.name))
    try:
        read = decode_head(folder / "head.json", data)
        assert len(read.classes) >= 2
        assert 0 <= read.unknown < 1
    except BundleError as error:
        _check_shown(error)


def tensor_file(data: bytes) -> None:
    path = _FOLDER / "tensors"
    path.write_bytes(data)
    try:
        file = TensorFile(path)
    except BundleError as error:
        _check_shown(error)
        return
    for name, tensor in file.specs.items():
        if tensor.dtype in READABLE:
            found = file.read(name)
            assert (found.shape, found.dtype.name) == (tensor.shape, tensor.dtype)
            assert found.nbytes <= len(data)


def signed(data: bytes) -> None:
    """The first 64 bytes are the signature, the rest is a manifest, or a key."""
    made, rest = data[:64], data[64:]
    assert not signature.verify(TRUST, rest, made) or (made, rest) == (SIGNATURE, SIGNED)
    try:
        trust = signature.check_trust(rest.decode(errors="replace"))
    except ConfigError as error:
        _check_shown(error)
    else:
        assert not signature.verify(trust, b"another manifest", made)
    try:
        signature.sign(rest, b"manifest")
    except ConfigError as error:
        _check_shown(error)


def _check_shown(error: Exception) -> None:
    line = shown(str(error))
    assert line.isprintable()
    assert len(line) < 3000


def _golden(*names: str) -> tuple[bytes, ...]:
    return tuple((GOLDEN / name).read_bytes() for name in names)


def _images() -> Iterator[bytes]:
    for kind in ("JPEG", "PNG", "WebP"):
        yield image_file(0, kind=kind, size=(20, 16))
    yield bombs.scans_jpeg(24, 16, 3)
    yield bombs.scans_jpeg(24, 16, 3, frame=0xC2)
    yield bombs.interleaved_jpeg(24, 16, 3, (1, 2, 3))
    yield bombs.png(9, 9, bombs.chunk(b"tEXt", b"a\0b"), bombs.black(9, 9))
    yield bombs.groups_webp(12)


KEY = signature.new_key()
SIGNED = b"a manifest"
SIGNATURE, TRUST = signature.sign(KEY, SIGNED)


TIMM_CONFIG = b"""{"architecture": "vit", "model_args": {"num_heads": 3}, "pretrained_cfg":
{"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1], "input_size": [3, 8, 8], "crop_pct": 0.9}}"""
HUGGING_FACE_CONFIG = b"""{"model_type": "vit", "num_attention_heads": 3, "id2label": {"0": "a"}}

{"image_mean": [0.5, 0.5, 0.5], "image_std": [1, 1, 1], "size": {"height": 8}}"""


def beside(data: bytes) -> None:
    """The config.json and preprocessor_config.json of a checkpoint's folder."""
    folder = _FOLDER / "beside"
    folder.mkdir(exist_ok=True)
    config, _, processor = data.partition(b"\n\n")
    (folder / "config.json").write_bytes(config)
    (folder / "preprocessor_config.json").write_bytes(processor or config)
    with contextlib.suppress(DataError):
        found = read_beside(folder / "model.safetensors")
        assert found.heads is None or found.heads > 0
        assert all("\n" not in shown(note) for note in found.notes)


def class_names(data: bytes) -> None:
    """A file of class names."""
    path = _FOLDER / "names.txt"
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        names = read_class_names(path)
        assert len(distinct(names)) == len(names)


def checkpoint(data: bytes) -> None:
    """A file that is given as weights; torch's own format has torch's own tests."""
    if data.startswith((b"PK", b"\x80")):
        return
    path = _FOLDER / "weights"
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        read_network(path)


def broker_url(data: bytes) -> None:
    """A broker's address, with a password in it that must not be repeated."""
    rest = data.decode("utf-8", "replace").replace(MARK, "")
    for parse in (parse_url, check_websocket_url, websocket_of):
        with contextlib.suppress(ConfigError):
            parse(rest)
        try:
            parse(f"mqtt://user:{MARK}{rest}@hub")
        except ConfigError as error:
            _check_shown(error)
            if MARK in str(error):
                raise AssertionError(error) from error


def camera_url(data: bytes) -> None:
    """A camera's URL, with a password in it that must not be shown."""
    rest = data.decode("utf-8", "replace").replace(MARK, "")
    for url in (
        f"rtsp://user:{MARK}{rest}@door/live",
        f"http://door/snap?user=admin&pwd={MARK}&{rest}",
    ):
        assert MARK not in without_password(url)
        assert MARK not in scrubbed(f"cannot open {url}: no answer")


TARGETS: Mapping[str, Target] = {
    "broker_url": Target(broker_url, 2, (b"mqtt://[fe80::1%25eth0]:1883", b"#/?", b"wss://a:1/b")),
    "camera_url": Target(camera_url, 2, (b"#1", b"/a?b=c", b"%40&token=x")),
    "feature": Target(feature, 11, _golden("feature.bin", "feature_2.bin")),
    "label": Target(lambda data: json_message(Label, data), 7, _golden("label.json")),
    "node_status": Target(
        lambda data: json_message(NodeStatus, data),
        7,
        _golden("node_status.json", "node_status_2.json"),
    ),
    "aggregator_status": Target(
        lambda data: json_message(AggregatorStatus, data),
        8,
        _golden("aggregator_status.json", "aggregator_status_2.json"),
    ),
    "steady_state": Target(
        lambda data: json_message(SteadyState, data), 3, _golden("steady_state.json")
    ),
    "crop_plan": Target(lambda data: json_message(CropPlan, data), 3, _golden("crop_plan.json")),
    "rollout": Target(lambda data: json_message(Rollout, data), 3, _golden("rollout.json")),
    "update": Target(
        lambda data: json_message(UpdateStatus, data), 3, _golden("update_status.json")
    ),
    "overview": Target(
        overview,
        5,
        (
            *_golden("label.json", "node_status_4.json", "aggregator_status_2.json"),
            b'{"origin": {"name": "devit-iot"}}',
        ),
    ),
    "image_message": Target(
        image_message,
        10,
        (
            b'{"image": "AAAA", "n": [1, {}]}',
            b"data:image/png;base64,AAAA",
            b"A-_/ \nAA==",
            b'\xef\xbb\xbf{"n":[NaN,-inf], "image": "a.b", "data": "b\'/9j/\\n\'"}\0{',
            b"b'/9j/AAA'",
            b"DATA:;base64,%2F9j%2fAAA",
            "/9j/AAA".encode("utf-16"),
        ),
    ),
    "image": Target(image, 12, tuple(_images())),
    "head_message": Target(head_message, 1, _golden("head_message.json")),
    "heads_report": Target(
        lambda data: json_message(HeadsReport, data), 1, _golden("heads_report.json")
    ),
    "teach_ask": Target(
        teach_ask,
        1,
        (
            b'{"do": "mark", "id": "0123abcd", "head": "gate", "pictures": [1], "name": "open"}',
            b'{"do": "live", "id": "0123abcd", "head": "gate", "cameras": ["door"]}',
        ),
    ),
    "topic": Target(topic, 8, (b"cameras/door/image/" + b"0f" * 16, b"a/b/c/d", b"pi-0")),
    "manifest": Target(manifest, 3, _golden("bundle/manifest.json")),
    "head": Target(head, 1, _golden("head/ee7ddd47af5e81ca/head.json")),
    "tensor_file": Target(tensor_file, 5, _golden("bundle/fusion.safetensors")),
    "beside": Target(beside, 3, (TIMM_CONFIG, HUGGING_FACE_CONFIG)),
    "class_names": Target(class_names, 2, (b"a\nb\n", b'["a", "a"]', b"\xef\xbb\xbfa\r\n")),
    "checkpoint": Target(checkpoint, 2, (*_golden("bundle/fusion.safetensors"), b"<html>")),
    "signature": Target(
        signed, 3, (SIGNATURE + SIGNED, SIGNATURE + KEY, SIGNATURE + TRUST.encode())
    ),
}
