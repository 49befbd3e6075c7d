"""What stands for the parts of a bundle alone."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devit_iot.bundle.reading import Bundle
from tests.golden.make import GOLDEN, PARTS_FINGERPRINTS
from tests.support.bundle_edit import Edit, edit


@pytest.mark.parametrize("name", PARTS_FINGERPRINTS)
def test_bundles_of_every_version_have_one(name: str) -> None:
    assert Bundle(GOLDEN / name).parts_fingerprint.hex() == PARTS_FINGERPRINTS[name]


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Edit], str]:
    def change_one(change: Edit) -> str:
        path = Path(shutil.copytree(GOLDEN / "bundle", tmp_path / "bundle"))
        edit(path, change, seal=True)
        return Bundle(path).parts_fingerprint.hex()

    return change_one


def other_class(fields: dict[str, Any]) -> None:
    fields["classes"].append("dog")


def other_fusion(fields: dict[str, Any]) -> None:
    fields["fusion"]["sha256"] = "0" * 64


def other_name(fields: dict[str, Any]) -> None:
    fields["name"] = "other"


@pytest.mark.parametrize("change", [other_class, other_fusion, other_name])
def test_what_changes_no_feature_does_not_change_it(
    changed: Callable[[Edit], str], change: Edit
) -> None:
    assert changed(change) == PARTS_FINGERPRINTS["bundle"]


def other_weights(fields: dict[str, Any]) -> None:
    fields["parts"][1]["weights"]["sha256"] = "0" * 64


def other_order(fields: dict[str, Any]) -> None:
    fields["parts"].reverse()


def other_input(fields: dict[str, Any]) -> None:
    fields["parts"][0]["spec"]["resize_size"] += 1


def other_storage(fields: dict[str, Any]) -> None:
    fields["parts"][0]["dtype"] = "float16"


def one_part_less(fields: dict[str, Any]) -> None:
    fields["parts"].pop()


@pytest.mark.parametrize(
    "change", [other_weights, other_order, other_input, other_storage, one_part_less]
)
def test_what_changes_a_feature_changes_it(changed: Callable[[Edit], str], change: Edit) -> None:
    assert changed(change) != PARTS_FINGERPRINTS["bundle"]
