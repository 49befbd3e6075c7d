"""What the documents state about the code, where a machine can compare them."""

import hashlib
import json
import re
import shlex
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import msgspec
import numpy as np
import pytest

from devit_iot.aggregator import aggregator, deadline, inbox, presence
from devit_iot.bundle import head, head_writing, manifest, signature, spec
from devit_iot.bundle.reading import Bundle
from devit_iot.cli.aggregate import main as aggregate
from devit_iot.cli.devit import main as devit
from devit_iot.cli.node import main as node
from devit_iot.config.config import AggregatorConfig, BrokerConfig, NodeConfig
from devit_iot.engine import image_file, jpeg_cost, tflite_file
from devit_iot.engine.base import GOLDEN_TOLERANCE
from devit_iot.homeassistant import announcer
from devit_iot.node import node as node_module
from devit_iot.protocol import feature, json_message, topics
from devit_iot.protocol.cells import CellTopics
from devit_iot.protocol.crop import CameraCrops, CropOrder, CropPlan
from devit_iot.protocol.feature import Feature, Timing
from devit_iot.protocol.head_message import (
    MAX_HEAD_MESSAGE,
    MAX_HEADS,
    HeadMessage,
    HeadReport,
    HeadsReport,
)
from devit_iot.protocol.hub_status import HubStatus
from devit_iot.protocol.label import Label
from devit_iot.protocol.looks import LookTopics
from devit_iot.protocol.release import Release, ReleaseHead, Rollout, UpdateState, UpdateStatus
from devit_iot.protocol.status import (
    HEARTBEAT_S,
    STATUS_LIFETIME_S,
    AggregatorStatus,
    NodeStatus,
)
from devit_iot.protocol.steady_state import SteadyState
from devit_iot.protocol.teaching import MAX_SHOWN, ShownPicture, TeachAnswer, TeachState
from devit_iot.protocol.text import MAX_CAMERA_BYTES, MAX_CAMERA_LENGTH, MAX_TEXT
from devit_iot.service import status
from devit_iot.transport import backoff, limits, suspects, unpersisted
from devit_iot.transport.base import NO_SESSION
from tests.support.documents import DOCUMENTS, ROOT, without_fences

CROPS = (CropPlan, CameraCrops, CropOrder)
PROTOCOL = (ROOT / "docs/protocol.md").read_text()
BUNDLE = (ROOT / "docs/bundle.md").read_text()
COMMANDS: dict[str, click.Command] = {
    "devit": devit,
    "devit-node": node,
    "devit-aggregate": aggregate,
}
CC = shutil.which("gcc") or shutil.which("clang")
EPS_TEXT = {1e-5: "0.00001", 1e-6: "1e-6"}
EXAMPLE = Feature(
    request_id=bytes(range(16)),
    fingerprint=bytes.fromhex("f0e1d2c3b4a59687"),
    part=2,
    parts=4,
    camera="door",
    received_ms=1_700_000_000_000,
    timing=Timing(wait_us=1200, decode_us=3400, compute_us=56000),
    values=np.array([1, -2, 0.1, 65504], np.float32),
)


def fenced(text: str, language: str) -> list[str]:
    """The code blocks of one language, their common indentation removed."""
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in blocks]


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the table whose first heading is ``heading``, without back quotes."""
    (rows,) = re.findall(rf"^\| {heading} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [
        [cell.strip().replace("`", "") for cell in row.strip("|").split("|")]
        for row in rows.splitlines()
    ]


def names(text: str, heading: str) -> list[str]:
    return [row[0] for row in table(text, heading)]


def fields(kind: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind)]


def command_lines() -> Iterator[tuple[str, str]]:
    """Every line of a fenced block that calls one of our commands."""
    for path in DOCUMENTS:
        for block in fenced(path.read_text(), r"\w*"):
            for line in block.replace("\\\n", " ").splitlines():
                for call in re.split(r"[|;>&]", line.partition(" #")[0]):
                    command = re.sub(r"^(\s|\$ |\w+=\S* |sudo |\S*/bin/(?=devit))*", "", call)
                    if command.split(" ")[0] in COMMANDS:
                        yield path.name, command.strip()


def parse(command: click.Command, arguments: list[str]) -> None:
    """Descend to the sub-command and parse its options by name, without running or converting."""
    context = click.Context(command)
    if isinstance(command, click.Group) and not arguments[0].startswith("-"):
        _, found, rest = command.resolve_command(context, arguments)
        assert found is not None
        parse(found, rest)
    else:
        values, rest, _ = command.make_parser(context).parse_args(list(arguments))
        assert not rest, rest
        if not {"--help", "--version"} & set(arguments):
            wanted = [p.name for p in command.params if isinstance(p, click.Argument)]
            assert all(isinstance(values.get(name), str | tuple) for name in wanted), wanted


def size(expression: str, symbols: dict[str, int]) -> int:
    """``3 H d``, ``patch_size^2 * 3`` -> their product."""
    total = 1
    for factor in expression.replace("*", " ").split():
        name, _, power = factor.partition("^")
        total *= (int(name) if name.isdecimal() else symbols[name]) ** int(power or 1)
    return total


def documented_tensors(heading_level: str, symbols: dict[str, int]) -> dict[str, tuple[int, ...]]:
    (section,) = re.findall(
        rf"^## {heading_level}\..*?(?=^## |\Z)", BUNDLE, re.DOTALL | re.MULTILINE
    )
    return {
        row[0]: tuple(size(part, symbols) for part in row[1].strip("()").split(","))
        for row in table(section, "tensor")
    }


def test_there_are_documents_to_check() -> None:
    expected = {"protocol.md", "bundle.md", "architecture.md", "CONTRIBUTING.md", "CHANGELOG.md"}
    assert expected <= {path.name for path in DOCUMENTS}
    assert len(list(command_lines())) >= 4


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = without_fences(path.read_text())
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    relative = [target.partition("#")[0] for target in targets if "://" not in target]
    assert [target for target in relative if target and not (path.parent / target).exists()] == []


@pytest.mark.parametrize(("document", "line"), list(command_lines()))
def test_commands_have_the_options_that_documents_use(document: str, line: str) -> None:
    program, *arguments = shlex.split(line)
    try:
        parse(COMMANDS[program], arguments)
    except click.UsageError as error:
        pytest.fail(f"{document}: {line}: {error.format_message()}")


def test_a_wrong_option_in_a_document_would_be_found() -> None:
    for line in ("start --prat 2", "begin", "start --part", "start stray"):
        with pytest.raises((click.UsageError, AssertionError)):
            parse(node, line.split())


def test_topics_have_the_shapes_of_topics_py() -> None:
    home = topics.Topics("home")
    shapes = [
        home.feature("<shard>", "<node>"),
        home.label("<camera>"),
        home.head_label("<camera>", "<head>"),
        home.state("<camera>", "<head>"),
        home.node_status("<node>"),
        home.aggregator_status("<shard>"),
        home.crops,
        LookTopics("home").images.replace("+", "<crop>").translate({ord("{"): "<", ord("}"): ">"}),
        home.enough("<shard>"),
        home.release,
        home.hub_status,
        home.hub_command,
        home.node_update("<node>"),
        home.aggregator_update("<shard>"),
        home.head("<head>"),
        home.aggregator_heads("<shard>"),
        home.teach_state,
        home.teach_ask("<tab>"),
        home.teach_answer("<tab>"),
        topics.DiscoveryTopics("PREFIX").device("<id>").replace("PREFIX", "<prefix>"),
        topics.HOME_ASSISTANT_STATUS,
        CellTopics("home", "x").connected.replace("/x/", "/<cell>/"),
        CellTopics("home", "x").base.replace("/x/", "/<cell>/") + "/...",
    ]
    assert names(PROTOCOL, "topic")[1:] == [
        shape.replace("/home/", "/<fleet>/") for shape in shapes
    ]
    for image_filter in topics.DEFAULT_IMAGE_FILTERS:
        assert f"`{image_filter}`" in PROTOCOL


def test_the_feature_header_is_the_documented_one() -> None:
    codes = {"bytes": "{}s", "u8": "B", "u16": "H", "u32": "I", "u64": "Q"}
    offset, layout = 0, "<"
    for documented, length, kind, *_ in table(PROTOCOL, "offset"):
        assert int(documented) == offset
        code = codes[kind].format(length)
        assert struct.calcsize("<" + code) == int(length)
        offset, layout = offset + int(length), layout + code
    assert offset == feature._HEADER.size
    assert layout == feature._HEADER.format
    assert f"The header is {offset} bytes long" in PROTOCOL


def test_the_documented_feature_is_what_encode_makes() -> None:
    (block,) = fenced(PROTOCOL, "hex")
    assert bytes.fromhex(block) == EXAMPLE.encode()
    decoded = Feature.decode(bytes.fromhex(block))
    assert (decoded.camera, decoded.timing) == (EXAMPLE.camera, EXAMPLE.timing)


@pytest.mark.skipif(CC is None, reason="no C compiler (gcc or clang) is installed")
def test_the_c_snippet_encodes_the_same_bytes(tmp_path: Path) -> None:
    (snippet,) = fenced(PROTOCOL, "c")
    main = """
#include <stdio.h>
int main(void) {
  struct feature_header head = {.part = 2, .parts = 4, .count = 4,
      .fingerprint = {0xf0, 0xe1, 0xd2, 0xc3, 0xb4, 0xa5, 0x96, 0x87},
      .received_ms = 1700000000000, .wait_us = 1200, .decode_us = 3400, .compute_us = 56000};
  for (uint8_t i = 0; i < 16; ++i) head.request_id[i] = i;
  const float values[] = {1.0f, -2.0f, 0.1f, 65504.0f};
  static uint8_t out[256];
  return fwrite(out, encode_feature(head, "door", values, out), 1, stdout) != 1;
}
"""
    (tmp_path / "feature.c").write_text(snippet + main)
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", "feature", "feature.c"]
    built = subprocess.run(
        [str(CC), *flags], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    made = subprocess.run([str(tmp_path / "feature")], capture_output=True, check=True)
    assert made.stdout == EXAMPLE.encode()


@pytest.mark.parametrize(
    "kind",
    [
        *(Label, NodeStatus, AggregatorStatus, Rollout, Release, HubStatus, UpdateStatus),
        *(SteadyState, *CROPS),
        *(Label, NodeStatus, AggregatorStatus, Rollout, Release, ReleaseHead, UpdateStatus),
        *(HeadMessage, HeadsReport, HeadReport, TeachState, TeachAnswer, ShownPicture),
    ],
    ids=lambda k: k.__name__,
)
def test_messages_have_the_documented_fields(kind: type[msgspec.Struct]) -> None:
    assert names(PROTOCOL, kind.__name__) == fields(kind)


def test_the_documented_states_are_those_of_the_code() -> None:
    assert tuple(names(PROTOCOL, "state")) == get_args(UpdateState)


@pytest.mark.parametrize(
    "kind",
    [
        manifest.Manifest,
        manifest.PartEntry,
        manifest.FileEntry,
        spec.SubVitSpec,
        spec.BlockSpec,
        spec.ConvSpec,
        spec.View,
        spec.Resize,
        tflite_file.TfliteManifest,
        head.HeadManifest,
        head.Fit,
    ],
    ids=lambda kind: kind.__name__,
)
def test_the_manifest_has_the_documented_fields(kind: type[msgspec.Struct]) -> None:
    assert names(BUNDLE, kind.__name__) == fields(kind)


PATCHED = spec.SubVitSpec(28, 32, 7, 24, 5, 2, (spec.BlockSpec(3, 11),))
CONVOLVED = spec.SubVitSpec(
    28, 32, 0, 24, 5, 0, (spec.BlockSpec(3, 11),), 1e-5, (spec.ConvSpec(24, 3, 1, 1),),
    residual_norm=True,
)  # fmt: skip


def test_the_documented_tensors_are_those_of_spec_py() -> None:
    found: dict[str, tuple[int, ...]] = {}
    for shape in (PATCHED, CONVOLVED):
        symbols = {
            "D": shape.embed_dim,
            "T": shape.tokens,
            "H": 3,
            "d": shape.head_dim,
            "M": 11,
            "F": shape.feature_dim,
            "C_j": 24,
            "C_j-1": 3,
            "k_j": 3,
            "patch_size": shape.patch_size,
            "image_size": shape.image_size,
        }
        documented = {
            re.sub(r"\.[ij]\.", ".0.", name): sizes
            for name, sizes in documented_tensors("4", symbols).items()
        }
        stored = {t.name: t.shape for t in (*shape.tensors(), *shape.golden_tensors())}
        assert stored.items() <= documented.items()
        assert stored == {name: documented[name] for name in documented if name in stored}
        found |= stored
    assert found.keys() == documented.keys()
    fusion = spec.FusionSpec(10, (24,)).tensors()
    assert {
        name.replace(".i.", ".0."): shape
        for name, shape in documented_tensors("5", {"C": 10, "F_i": 24}).items()
    } == {tensor.name: tensor.shape for tensor in fusion}


@pytest.mark.parametrize(
    "folder",
    [
        "devit_iot/demo/bundle",
        "tests/golden/bundle",
        "tests/golden/bundle-3",
        "tests/golden/bundle-4",
    ],
)
def test_the_fingerprint_is_the_documented_hash(folder: str) -> None:
    manifest = Bundle(ROOT / folder).manifest
    parts = ",".join(
        f'["{part.weights.sha256}",{spec_text(part.spec)},{numbers(part.classes)},"{part.dtype}"]'
        for part in manifest.parts
    )
    classes = ",".join(f'"{name}"' for name in manifest.classes)
    fusion = manifest.fusion.sha256
    version = manifest.version
    text = f'{{"classes":[{classes}],"fusion":"{fusion}","parts":[{parts}],"version":{version}}}'
    assert hashlib.blake2b(text.encode(), digest_size=8).hexdigest() == manifest.fingerprint


@pytest.mark.parametrize("folder", ["bundle", "bundle-3", "bundle-4"])
def test_the_fingerprint_of_the_parts_is_the_documented_hash(folder: str) -> None:
    opened = Bundle(ROOT / "tests/golden" / folder)
    parts = ",".join(
        f'["{part.weights.sha256}",{spec_text(part.spec)},"{part.dtype}"]'
        for part in opened.manifest.parts
    )
    text = f'{{"parts":[{parts}]}}'
    assert hashlib.blake2b(text.encode(), digest_size=8).digest() == opened.parts_fingerprint


def test_the_fingerprint_of_a_head_is_the_documented_hash() -> None:
    """The numbers of the golden head are written as JSON and Python write them."""
    (path,) = (ROOT / "tests/golden/head").glob("*/head.json")
    content = json.loads(path.read_text())
    text = json.dumps(content | {"fingerprint": ""}, separators=(",", ":"))
    assert hashlib.blake2b(text.encode(), digest_size=8).hexdigest() == path.parent.name
    assert content["fingerprint"] == path.parent.name


def numbers(values: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, values))}]"


def test_small_numbers_are_written_as_documented() -> None:
    for value, text in EPS_TEXT.items():
        assert msgspec.json.encode(value).decode() == text
        assert f"`{text}`" in BUNDLE


def spec_text(shape: spec.SubVitSpec) -> str:
    sizes = "".join(f'"{name}":{getattr(shape, name)},' for name in fields(type(shape))[:6])
    return (
        f'{{{sizes}"blocks":{structs(shape.blocks)},"norm_eps":{EPS_TEXT[shape.norm_eps]},'
        f'"tokenizer":{structs(shape.tokenizer)},'
        f'"residual_norm":{str(shape.residual_norm).lower()}{view_text(shape)}'
        f"{resize_text(shape)}}}"
    )


def view_text(shape: spec.SubVitSpec) -> str:
    """Nothing for the whole image; Python writes these numbers as JSON does."""
    if shape.seen == spec.WHOLE:
        return ""
    return f',"view":{structs((shape.seen,))[1:-1]}'


def resize_text(shape: spec.SubVitSpec) -> str:
    if shape.resized == spec.CROPPED:
        return ""
    return f',"resize":{{"fit":"{shape.resized.fit}","filter":"{shape.resized.filter}"}}'


def structs(items: tuple[msgspec.Struct, ...]) -> str:
    """A list of structs whose fields are integers."""
    texts = [
        ",".join(f'"{name}":{getattr(item, name)}' for name in fields(type(item))) for item in items
    ]
    return f"[{','.join(f'{{{text}}}' for text in texts)}]"


def test_every_reason_of_refusal_is_listed() -> None:
    raised = set()
    for path in (ROOT / "devit_iot").rglob("*.py"):
        raised |= set(re.findall(r'(?:Image|Message)Error\(\s*"(\w+)"', path.read_text()))
    assert set(names(PROTOCOL, "reason")) == raised


def spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def test_numbers_of_the_protocol_are_those_of_the_code() -> None:
    defaults = AggregatorConfig()
    stated = (
        f"may say {jpeg_cost.HEADER_PIXELS} times `max_pixels`",
        f"scans may be {image_file.MAX_SCANS} times `max_pixels`",
        f"A HeadMessage is at most {MAX_HEAD_MESSAGE} bytes",
        f"takes {MAX_HEADS} heads, and keeps {head_writing.MOST_VERSIONS} versions",
        f"{MAX_SHOWN} pictures, whether there are more",
        f"`deadline_s` ({defaults.deadline_s:g} s)",
        f"`max_open` ({defaults.max_open})",
        f"`lifetime_s` ({defaults.lifetime_s:g} s)",
        f"within the last {presence.SILENCE_S:g} s",
        f"within the last {STATUS_LIFETIME_S} s",
        f"`max_open_per_camera` ({defaults.max_open_per_camera})",
        f"`min_parts` ({defaults.min_parts})",
        f"`min_deadline_s` ({defaults.min_deadline_s:g} s)",
        f"`every_deadline_s` ({defaults.every_deadline_s:g} s)",
        f"longest of the last {deadline.SAMPLES} *spreads*",
        f"`max_age_s` ({NodeConfig().max_age_s:g} s)",
        f"`max_waiting_mib` ({NodeConfig().max_waiting_mib})",
        f"`broker.session_s` ({BrokerConfig().session_s} s)",
        f"`broker.persist_s` ({BrokerConfig().persist_s:g} s,",
        f"after 0.25 to {backoff.MAX_PAUSE_S:g} s",
        f"at most {limits.MAX_IN_FLIGHT} QoS 1 messages",
        f"up {suspects.HANG_UPS} times in a row",
        f"at most {unpersisted.MAX_BYTES // 2**20} MiB",
        f"is {node_module.RECEIVE_MAXIMUM} for nodes",
        f"and {aggregator.RECEIVE_MAXIMUM} for aggregators",
        f"in its first {presence.GRACE_S:g} s",
        f"at least every {HEARTBEAT_S:g} s",
        f"comes back within {status.ECHO_S:g} s",
        f"of them, {BrokerConfig().queue})",
        f"because {spaced(inbox.MAX_ITEMS)} of them, or {inbox.MAX_BYTES // 2**20} MiB, were",
        f"extensions, {feature.MAX_HEADER_BYTES} at most",
        f"more than {spaced(image_file.MAX_PIECES)} segments or chunks, more",
        f"more than {image_file.MAX_SCANS} scans",
        f"the longest packet that they take: {NO_SESSION.max_packet // 2**20} MiB",
        f"1 to {MAX_CAMERA_LENGTH} printable",
        f"at most {MAX_CAMERA_BYTES} bytes of UTF-8",
        f"at most {json_message.MAX_JSON_BYTES} bytes",
        f"at most {MAX_TEXT} characters",
        f"knows {presence.MAX_NODES} nodes",
        f"at most {announcer.MAX_NODES} nodes and {announcer.MAX_CAMERAS} cameras",
        f"up to {announcer._MAX_DELAY_S:g} s after `online`",
        f"without one for {STATUS_LIFETIME_S} s",
    )
    assert [text for text in stated if text not in " ".join(PROTOCOL.split())] == []


def test_numbers_of_the_bundle_are_those_of_the_code() -> None:
    stated = (
        f"1 to {manifest.MAX_CLASSES}",
        f"1 to {manifest.MAX_PARTS};",
        f"at most {manifest.MAX_NAME_LENGTH} characters, all printable",
        f"`{signature.SIGNATURE}` holds {signature.SIGNATURE_BYTES} bytes",
        f"`{head.FORMAT}`",
        f"`{head._NAME.pattern}`",
        f"`{head.FOLDER}/<name>/<version>/` holds one version of a head: `{head.HEAD}`",
        f"`{head.TENSORS}`, and `{head.SIGNATURE}` if it is signed",
        f"| `version` | integer | {head.VERSION}, of this format |",
        f"{head._MIN_CLASSES} to {manifest.MAX_CLASSES} different names",
        f"1 to {spec.MAX_HEAD_DIM}",
        f"at most {spec.MAX_TOKENS}",
        f"most {spec.MAX_MAP}. Tokens",
        f"`{manifest._FILE_NAME.pattern}`",
        f"`{manifest.FORMAT}`",
        f"Fleet bundle, versions {manifest.FIRST_VERSION} to {manifest.VERSION}",
        f"at least 1/{1 / spec.MIN_VIEW:g};",
        f"`{tflite_file.FORMAT}`",
        f"| `version` | integer | {tflite_file.VERSION} |",
        f"| `version` | integer | {manifest.VERSION} if any part has a `resize`;",
        f"; otherwise {manifest.VERSION_OF_VIEWS} if any part has a `view`;",
        f"otherwise {manifest.FIRST_VERSION} |",
        f"| float32 | {GOLDEN_TOLERANCE['float32']:.0e} |".replace("e-03", "e-3"),
        f"| float16 | {GOLDEN_TOLERANCE['float16']} |",
        f"| int8 | {GOLDEN_TOLERANCE['int8']} |",
    )
    assert [text for text in stated if text not in BUNDLE] == []
