"""A head is read back as written, or refused in one line; the one that was live before goes on."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from devit_iot.bundle import head_writing
from devit_iot.bundle.head import Fit, HeadManifest, head_fingerprint, head_names, read_head
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.signature import new_key, sign
from devit_iot.cli.bundle import bundle as command
from devit_iot.engine.fusion import Fusion
from devit_iot.errors import BundleError, ConfigError
from devit_iot.protocol.label import Ranked
from tests.golden.make import BUNDLE_FINGERPRINT, GOLDEN, HEAD_FINGERPRINT, write_gate


@pytest.fixture
def tiny(tmp_path: Path) -> Bundle:
    """The golden bundle with the golden head."""
    path = Path(shutil.copytree(GOLDEN / "bundle", tmp_path / "bundle"))
    shutil.copytree(GOLDEN / "head", path / "heads/gate")
    return Bundle(path)


def home(bundle: Bundle) -> Path:
    return bundle.path / "heads/gate"


def edit(bundle: Bundle, change: Callable[[dict[str, Any]], None], *, seal: bool = False) -> None:
    """Change head.json; with ``seal`` its fingerprint and folder too, as a hostile owner would."""
    folder = home(bundle) / HEAD_FINGERPRINT
    fields = json.loads((folder / "head.json").read_text())
    change(fields)
    version = HEAD_FINGERPRINT
    if seal:
        version = head_fingerprint(msgspec.convert(fields, HeadManifest))
        fields["fingerprint"] = version
    (folder / "head.json").write_text(json.dumps(fields))
    folder.rename(home(bundle) / version)
    (home(bundle) / "current").write_text(version)


def test_the_golden_head_still_opens(tiny: Bundle, tmp_path: Path) -> None:
    assert head_names(tiny) == ("default", "gate")
    head = read_head(tiny, "gate")
    assert (head.version, head.classes, head.unknown) == (
        HEAD_FINGERPRINT,
        ("closed", "open"),
        0.625,
    )
    again = Bundle(Path(shutil.copytree(GOLDEN / "bundle", tmp_path / "again")))
    write_gate(again)
    golden = sorted(path for path in (GOLDEN / "head").rglob("*") if path.is_file())
    assert len(golden) == 3
    for path in golden:
        made = again.path / "heads/gate" / path.relative_to(GOLDEN / "head")
        assert made.read_bytes() == path.read_bytes()


def test_the_bundles_own_fusion_is_the_head_default(tiny: Bundle) -> None:
    head = read_head(tiny, "default")
    assert (head.version, head.classes, head.unknown) == (
        BUNDLE_FINGERPRINT,
        ("ant", "bee", "cat"),
        0,
    )
    bias = tiny.fusion_tensors()["bias"]
    assert np.array_equal(head.tensors["bias"], bias)
    assert np.array_equal(Fusion(tiny).logits({}), Fusion(tiny, "default").logits({}))


def test_a_head_fuses_as_the_default_does(tiny: Bundle) -> None:
    fusion = Fusion(tiny, "gate")
    rng = np.random.default_rng(1)
    features = {
        part: rng.standard_normal(dim).astype(np.float32)
        for part, dim in enumerate(fusion.feature_dims)
        if part != 1
    }
    tensors = read_head(tiny, "gate").tensors
    wanted = tensors["bias"] + tensors["parts.1.mean"]
    for part, feature in features.items():
        wanted = wanted + tensors[f"parts.{part}.weight"] @ feature
    assert np.allclose(fusion.logits(features), wanted, atol=1e-5)
    assert {entry.label for entry in fusion.rank(wanted)} == {"closed", "open"}


def test_below_the_threshold_the_answer_is_unknown(tiny: Bundle) -> None:
    fusion = Fusion(tiny, "gate")
    sure, unsure = Ranked("open", 1, 0.625), Ranked("open", 1, 0.6249)
    assert fusion.answer(sure) == sure
    assert fusion.answer(unsure) == Ranked("unknown", -1, 0.6249)
    assert Fusion(tiny).answer(unsure) == unsure


@pytest.mark.parametrize("name", ["head.json", "head.safetensors"])
def test_a_changed_byte_is_found(tiny: Bundle, name: str) -> None:
    path = home(tiny) / HEAD_FINGERPRINT / name
    original = path.read_bytes()
    for position in (0, 9, len(original) // 2, len(original) - 3):
        changed = bytearray(original)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(BundleError):
            read_head(tiny, "gate")


@pytest.mark.parametrize("name", ["head.json", "head.safetensors"])
def test_a_missing_or_cut_file_is_named(tiny: Bundle, name: str) -> None:
    path = home(tiny) / HEAD_FINGERPRINT / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BundleError, match=name):
        read_head(tiny, "gate")
    path.unlink()
    with pytest.raises(BundleError, match=name):
        read_head(tiny, "gate")


@pytest.mark.parametrize(
    "text", ["", "../../../etc", "0123", "0123456789ABCDEF", "0" * 17, "\x00" * 16, "x" * 9999]
)
def test_what_names_no_version_is_refused(tiny: Bundle, text: str) -> None:
    (home(tiny) / "current").write_text(text)
    with pytest.raises(BundleError, match="names no version"):
        read_head(tiny, "gate")


def test_a_version_that_is_gone_is_named(tiny: Bundle) -> None:
    (home(tiny) / "current").write_text("0" * 16)
    with pytest.raises(BundleError, match=r"0{16} is not a head: cannot read head\.json"):
        read_head(tiny, "gate")


def test_a_head_that_is_not_there_is_named_beside_those_that_are(tiny: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no head 'feeder'.*it has: default, gate"):
        read_head(tiny, "feeder")


@pytest.mark.parametrize("name", ["", "../gate", "a/b", "gate.", ".gate", "gate ", "x" * 65, "tür"])
def test_a_name_that_is_none_is_refused(tiny: Bundle, name: str) -> None:
    with pytest.raises(ConfigError, match="no usable name"):
        read_head(tiny, name)


def test_a_head_for_other_parts_is_refused(tiny: Bundle, tmp_path: Path) -> None:
    path = Path(shutil.copytree(GOLDEN / "bundle-4", tmp_path / "other"))
    shutil.copytree(home(tiny), path / "heads/gate")
    with pytest.raises(BundleError, match=r"belongs to parts 2058ee504fc48ccd.*teach it again"):
        read_head(Bundle(path), "gate")


@pytest.mark.parametrize("change", [{"version": 2}, {"format": "devit-bundle"}])
def test_another_version_is_named(tiny: Bundle, change: dict[str, Any]) -> None:
    edit(tiny, lambda fields: fields.update(change | {"key of the future": 1}))
    with pytest.raises(BundleError, match="reads devit-head version 1"):
        read_head(tiny, "gate")


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["closed", "ajar"]},
        {"unknown": 0.1},
        {"parts": "0" * 16},
        {"name": "door"},
        {"provenance": {}},
    ],
)
def test_an_edited_head_is_found_by_its_fingerprint(tiny: Bundle, change: dict[str, Any]) -> None:
    edit(tiny, lambda fields: fields.update(change))
    with pytest.raises(BundleError, match="fingerprint does not match"):
        read_head(tiny, "gate")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"classes": ["open"]}, "2 to 65535 classes"),
        ({"classes": ["open", "open"]}, "named twice"),
        ({"classes": ["open", "a\nb"]}, "cannot be printed"),
        ({"classes": ["open", "x" * 257]}, "cannot be printed"),
        ({"classes": ["open", "closed", "ajar"]}, "tensor"),
        ({"unknown": 1.0}, "no probability"),
        ({"unknown": -0.5}, "no probability"),
    ],
)
def test_an_inconsistent_head_is_refused(
    tiny: Bundle, change: dict[str, Any], problem: str
) -> None:
    edit(tiny, lambda fields: fields.update(change), seal=True)
    with pytest.raises(BundleError, match=problem):
        read_head(tiny, "gate")


@pytest.mark.parametrize("text", [b"", b"[1]", b"\xff", b'{"format":' + b"[" * 100_000])
def test_what_is_no_json_is_refused(tiny: Bundle, text: bytes) -> None:
    (home(tiny) / HEAD_FINGERPRINT / "head.json").write_bytes(text)
    with pytest.raises(BundleError, match="does not parse"):
        read_head(tiny, "gate")


def test_a_number_that_no_json_of_ours_can_hold_is_refused(tiny: Bundle) -> None:
    edit(tiny, lambda fields: fields["fit"].update(measured=2**70))
    with pytest.raises(BundleError, match=r"does not parse|does not match its content"):
        read_head(tiny, "gate")


def test_a_path_out_of_the_head_is_refused(tiny: Bundle) -> None:
    edit(
        tiny, lambda fields: fields["tensors"].update(file="../../../fusion.safetensors"), seal=True
    )
    with pytest.raises(BundleError, match=r"not in head\.safetensors"):
        read_head(tiny, "gate")


def test_a_new_version_is_live_and_the_old_one_stays_on_disk(tiny: Bundle) -> None:
    edit(tiny, lambda fields: fields.update(unknown=0.5), seal=True)
    before = read_head(tiny, "gate").version
    assert write_gate(tiny).version == HEAD_FINGERPRINT != before
    (home(tiny) / "current").write_text(before + "\n")
    assert read_head(tiny, "gate").unknown == 0.5


def test_the_same_head_again_repairs_the_files(tiny: Bundle) -> None:
    (home(tiny) / HEAD_FINGERPRINT / "head.safetensors").write_bytes(b"damaged")
    assert write_gate(tiny).version == HEAD_FINGERPRINT
    assert sorted(path.name for path in home(tiny).iterdir()) == ["current", HEAD_FINGERPRINT]


@pytest.mark.parametrize("step", ["_write_file", "_store", "_make_live"])
def test_a_full_disk_leaves_the_old_head_live(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    edit(tiny, lambda fields: fields.update(unknown=0.5), seal=True)
    before = read_head(tiny, "gate").version

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(head_writing, step, full)
    with pytest.raises(BundleError, match="No space left on device; what was live before stays"):
        write_gate(tiny)
    assert read_head(tiny, "gate").version == before
    assert not list(home(tiny).glob("*.partial"))


def test_default_is_no_head_to_write(tiny: Bundle) -> None:
    fit = Fit("none", (), 1.0, 1.0, 0, 0.0)
    with pytest.raises(ConfigError, match="bundle's own fusion"):
        head_writing.write_head(
            tiny, "default", classes=(), tensors={}, unknown=0, fit=fit, provenance={}
        )


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_signed_bundle_opens_signed_heads_only(tiny: Bundle, tmp_path: Path) -> None:
    key = tmp_path / "signing.key"
    key.write_bytes(new_key())
    public = run("sign", tiny.path, "--key", key).output.strip()
    assert len(public) == 64
    assert read_head(Bundle(tiny.path, trust=public), "gate").version == HEAD_FINGERPRINT
    signature = home(tiny) / HEAD_FINGERPRINT / "head.sig"
    good = signature.read_bytes()
    stranger = sign(new_key(), (signature.parent / "head.json").read_bytes())[0]
    of_bundle = (tiny.path / "manifest.sig").read_bytes()
    for other in (stranger, of_bundle, good[:-1], b""):
        signature.write_bytes(other)
        with pytest.raises(BundleError, match=r"no signature of head\.json"):
            read_head(Bundle(tiny.path, trust=public), "gate")
    signature.unlink()
    with pytest.raises(BundleError, match="is not signed"):
        read_head(Bundle(tiny.path, trust=public), "gate")
    assert read_head(Bundle(tiny.path), "gate").version == HEAD_FINGERPRINT


def test_a_signed_head_made_for_other_parts_cannot_be_moved(tiny: Bundle, tmp_path: Path) -> None:
    key = tmp_path / "signing.key"
    key.write_bytes(new_key())
    other = Path(shutil.copytree(GOLDEN / "bundle-4", tmp_path / "other"))
    public = run("sign", tiny.path, "--key", key).output.strip()
    run("sign", other, "--key", key)
    shutil.copytree(home(tiny), other / "heads/gate")
    with pytest.raises(BundleError, match="belongs to parts"):
        read_head(Bundle(other, trust=public), "gate")


def test_info_lists_heads(tiny: Bundle) -> None:
    assert f"head gate: 2 classes (closed, open), version {HEAD_FINGERPRINT}" in (
        run("info", tiny.path).output
    )
