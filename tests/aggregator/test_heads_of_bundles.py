"""An aggregator that holds several bundles, each with the heads that its cameras need."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from devit_iot.aggregator.fusions import Fusions
from devit_iot.aggregator.heads import CameraHeads
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.tensor_file import TensorFile, write_tensors
from devit_iot.config.config import Config
from devit_iot.transport.memory import MemoryBroker
from tests.support.features import PARTS, make_feature
from tests.support.fleets import make_bundle, wait_until
from tests.support.heads import write_random
from tests.support.releases import sealed
from tests.support.running import TOPICS, aggregator_status, labels, make_aggregator, running

CHOICE = Config(heads={"door": ("gate", "default")}).head_choice


@pytest.fixture
def one(bundle: Bundle, tmp_path: Path) -> Bundle:
    return Bundle(Path(shutil.copytree(bundle.path, tmp_path / "one")))


@pytest.fixture
def refit(one: Bundle, tmp_path: Path) -> Bundle:
    """The same parts, fused in another way."""
    return with_other_fusion(one, tmp_path / "refit")


def with_other_fusion(bundle: Bundle, folder: Path) -> Bundle:
    path = Path(shutil.copytree(bundle.path, folder)) / bundle.manifest.fusion.file
    file = TensorFile(path)
    arrays = {name: np.array(file.read(name)) for name in file.specs}
    arrays["bias"] = arrays["bias"] + np.float32(1)
    write_tensors(path, arrays)
    return sealed(folder)


def ask(broker: MemoryBroker, bundle: Bundle, request: int, *, named: bool = False) -> None:
    wait_until(lambda: TOPICS.aggregator_status(0) in broker.retained)
    parts_fingerprint = bundle.parts_fingerprint if named else b""
    for part in range(PARTS):
        feature = msgspec.structs.replace(
            make_feature(bundle, part, request), parts_fingerprint=parts_fingerprint
        )
        broker.publish(TOPICS.feature(0, f"node-{part}"), feature.encode(), qos=1)


def test_a_bundle_answers_with_its_own_heads(one: Bundle, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", seed=9)
    versions = [write_random(made, "gate", seed) for seed, made in enumerate((one, other))]
    broker = MemoryBroker()
    fusions = Fusions([CameraHeads(made, CHOICE) for made in (one, other)])
    with running(make_aggregator(broker, one, fusions=fusions)):
        for request, made in enumerate((one, other)):
            ask(broker, made, request)
        wait_until(lambda: len(labels(broker)) == 4)
    said = {(label.fingerprint, label.head, label.head_version) for label in labels(broker)}
    names = [made.manifest.fingerprint for made in (one, other)]
    assert said == {
        *((name, "gate", version) for name, version in zip(names, versions, strict=True)),
        *((name, "default", name) for name in names),
    }
    assert aggregator_status(broker).refused == {}


def test_a_new_version_is_taken_for_each_bundle(one: Bundle, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", seed=9)
    for made in (one, other):
        write_random(made, "gate", 0)
    fusions = Fusions([CameraHeads(made, CHOICE) for made in (one, other)])
    versions = {made.manifest.fingerprint: write_random(made, "gate", 7) for made in (one, other)}
    fusions.refresh(1.0)
    for fingerprint, version in versions.items():
        heads = fusions.get(fingerprint)
        assert heads is not None
        assert heads.of("door")[0].version == version


@pytest.mark.parametrize("held", [("refit",), ("one", "refit"), ("refit", "one")])
def test_the_parts_decide_then_the_bundle(
    one: Bundle, refit: Bundle, held: tuple[str, ...]
) -> None:
    """A node with the same parts is taken; of several such bundles its own one fuses it."""
    bundles = {"one": one, "refit": refit}
    assert one.parts_fingerprint == refit.parts_fingerprint
    assert one.fingerprint != refit.fingerprint
    fusions = Fusions([CameraHeads(bundles[name], Config().head_choice) for name in held])
    broker = MemoryBroker()
    with running(make_aggregator(broker, refit, fusions=fusions)):
        ask(broker, one, 1, named=True)
        wait_until(lambda: len(labels(broker)) == 1)
    wanted = bundles["one" if "one" in held else "refit"].manifest.fingerprint
    assert [(label.fingerprint, label.degraded) for label in labels(broker)] == [(wanted, False)]


def test_nodes_with_and_without_names_of_parts_are_fused_together(one: Bundle) -> None:
    """A node of an earlier version names its bundle alone."""
    broker = MemoryBroker()
    with running(make_aggregator(broker, one)):
        wait_until(lambda: TOPICS.aggregator_status(0) in broker.retained)
        for part in range(PARTS):
            feature = msgspec.structs.replace(
                make_feature(one, part, 1),
                parts_fingerprint=b"" if part == 0 else one.parts_fingerprint,
            )
            broker.publish(TOPICS.feature(0, f"node-{part}"), feature.encode(), qos=1)
        wait_until(lambda: len(labels(broker)) == 1)
    assert labels(broker)[0].parts_used == tuple(range(PARTS))


def test_parts_that_are_not_those_of_the_named_bundle_are_refused(one: Bundle) -> None:
    broker = MemoryBroker()
    with running(make_aggregator(broker, one)):
        wait_until(lambda: TOPICS.aggregator_status(0) in broker.retained)
        feature = msgspec.structs.replace(make_feature(one, 0, 1), parts_fingerprint=b"8 bytes!")
        broker.publish(TOPICS.feature(0, "node-0"), feature.encode())
        wait_until(lambda: aggregator_status(broker).refused == {"other_bundle": 1})
