"""A calibration is read back as written, that of an earlier release too, or refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devit_iot.bundle.calibration import (
    Calibration,
    calibrated_order,
    calibration_path,
    read_calibration,
    write_calibration,
)
from devit_iot.bundle.head import read_head
from devit_iot.bundle.reading import Bundle
from devit_iot.errors import BundleError
from tests.support.calibrations import sure_after
from tests.support.fleets import make_bundle

ORDER = (2, 0, 1)


@pytest.fixture
def fleet(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle")


def scattering(bundle: Bundle) -> Calibration:
    made = sure_after(bundle, 2, order=ORDER)
    stages = tuple(msgspec.structs.replace(stage, scatter=0.25) for stage in made.stages)
    return msgspec.structs.replace(made, stages=stages)


def edit(bundle: Bundle, change: Callable[[dict[str, Any]], None]) -> None:
    path = calibration_path(bundle, "default")
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def test_a_calibration_is_read_back_as_written(fleet: Bundle) -> None:
    made = scattering(fleet)
    write_calibration(fleet, made)
    assert read_calibration(fleet, read_head(fleet, "default")) == made
    assert calibrated_order(fleet) == ORDER


def earlier(fields: dict[str, Any]) -> None:
    fields["version"] = 1
    for stage in fields["stages"]:
        del stage["scatter"]


def test_one_of_an_earlier_release_is_read(fleet: Bundle) -> None:
    write_calibration(fleet, scattering(fleet))
    edit(fleet, earlier)
    found = read_calibration(fleet, read_head(fleet, "default"))
    assert found.version == 1
    assert [stage.scatter for stage in found.stages] == [0.0, 0.0]
    assert found.stages == sure_after(fleet, 2).stages
    assert calibrated_order(fleet) == ORDER


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda fields: fields.update(version=1), "version 1 knows no scatter"),
        (lambda fields: fields.update(version=3), "versions 1 to 2"),
        (lambda fields: fields.update(version=0), "versions 1 to 2"),
        (lambda fields: fields.update(version="2"), "versions 1 to 2"),
        (lambda fields: fields.update(format="devit-bundle"), "devit-bundle version 2"),
        (lambda fields: fields["stages"][1].update(scatter=-0.1), "numbers that cannot be"),
        (lambda fields: fields["stages"][1].update(slope=-0.1), "numbers that cannot be"),
        (lambda fields: fields["stages"][1].update(temperature=0.0), "numbers that cannot be"),
        (lambda fields: fields["stages"][1].update(scatter="wide"), "does not parse"),
        (lambda fields: fields["stages"].pop(), "a stage is missing"),
        (lambda fields: fields.update(order=[0, 1]), "every part once"),
        (lambda fields: fields.update(head_version="0" * 16), "was fitted for version"),
    ],
)
def test_what_cannot_be_used_is_refused(
    fleet: Bundle, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    write_calibration(fleet, scattering(fleet))
    edit(fleet, change)
    with pytest.raises(BundleError, match=words):
        read_calibration(fleet, read_head(fleet, "default"))
