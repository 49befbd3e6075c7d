"""``devit teach`` from pictures to a head that answers, on a small fleet."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from devit_iot.bundle.head import head_names, read_head
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.signature import new_key
from devit_iot.cli import teach as command
from devit_iot.evaluation.local import LocalFleet
from devit_iot.teach.cache import FeatureCache
from tests.support.fleets import make_bundle
from tests.teach.pictures import failure, photos, picture, run, teach


def test_pictures_become_a_head_that_answers(fleet: Bundle, tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", {"closed": 12, "open": 9})
    said = teach(fleet, data)
    assert said.exit_code == 0, said.output
    assert head_names(fleet) == ("default", "gate")
    answers = LocalFleet(fleet, threads=1, head="gate")
    assert answers.fusion.classes == ("closed", "open")
    for kind in ("closed", "open"):
        assert answers.classify(picture(kind, 99))[0].label == kind
    assert "21 pictures of 21 moments" in said.output
    assert "report: " in said.output


def test_the_report_says_what_the_head_is_worth(fleet: Bundle, tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", {"closed": 12, "open": 9, "ajar": 6})
    result = json.loads(teach(fleet, data, "--json").stdout)
    assert result["version"] == read_head(fleet, "gate").version
    assert result["top1"] >= 0.9
    assert [entry["images"] for entry in result["classes"]] == [6, 12, 9]
    assert [sum(row) for row in result["confusion"]] == [6, 12, 9]
    right = sum(result["confusion"][label][label] for label in range(3))
    assert result["top1"] == pytest.approx(right / 27)
    assert len(result["wrong"]) == 27 - right
    assert result["lost"][0]["mean"] == pytest.approx(result["top1"])
    assert [entry["count"] for entry in result["lost"]] == [0, 1, 2]
    assert result["lost"][1]["mean"] == pytest.approx(sum(result["each_lost"]) / 3)
    assert [point["images"] for point in result["curve"]] == [1, 2, 5, 7]
    assert result["computed"] == 27
    report = (tmp_path / "report/report.md").read_text()
    assert "## Lost parts" in report
    for name in ("confusion", "curve", "lost_parts"):
        assert f"({name}.png)" in report
        assert (tmp_path / f"report/{name}.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "report/report.json").read_text()) == result


def test_features_are_computed_once(fleet: Bundle, tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", {"closed": 6, "open": 6})
    assert json.loads(teach(fleet, data, "--json").stdout)["computed"] == 12
    photos(data, {"ajar": 5})
    renamed = next((data / "open").iterdir())
    renamed.rename(data / "open/another-name.png")
    again = json.loads(teach(fleet, data, "--json").stdout)
    assert again["computed"] == 5
    assert [entry["name"] for entry in again["classes"]] == ["ajar", "closed", "open"]


def test_what_the_report_says_of_the_test_split_evaluate_measures(
    fleet: Bundle, tmp_path: Path
) -> None:
    """They agree with parts lost too; the report's features are rounded as on the wire."""
    data = tmp_path / "data"
    photos(data / "train", {"closed": 10, "open": 10, "ajar": 10})
    photos(data / "test", {"closed": 30, "open": 30, "ajar": 30}, first=50)
    result = json.loads(teach(fleet, data, "--json").stdout)
    said = run("evaluate", fleet.path, "--head", "gate", "--data", data, "--json")
    measured = json.loads(said.stdout)
    assert measured["images"] == result["test"]["images"] == 90
    assert measured["top1"] == pytest.approx(result["test"]["top1"], abs=0.02)
    for one, two in zip(measured["lost"], result["test"]["lost"], strict=True):
        assert one["mean"] == pytest.approx(two["mean"], abs=0.02)
        assert one["worst"] == pytest.approx(two["worst"], abs=0.02)


def test_evaluate_takes_the_classes_of_the_head(fleet: Bundle, tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", {"closed": 6, "open": 6})
    assert teach(fleet, data).exit_code == 0
    later = photos(tmp_path / "later", {"closed": 5, "open": 5}, first=70)
    said = run("evaluate", fleet.path, "--head", "gate", "--data", later, "--json")
    assert json.loads(said.stdout)["images"] == 10
    said = run("evaluate", fleet.path, "--data", later)
    assert "is no class of the bundle" in said.stderr


def test_a_threshold_makes_few_right_answers_unknown(fleet: Bundle, tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", {"closed": 20, "open": 20})
    result = json.loads(teach(fleet, data, "--json", "--unknown", "0.1").stdout)
    assert 0 < result["unknown"] < 1
    assert result["answered"] >= 0.85
    assert read_head(fleet, "gate").unknown == result["unknown"]
    result = json.loads(teach(fleet, data, "--json", "--unknown", "0").stdout)
    assert (result["unknown"], result["answered"]) == (0, 1)


def test_teaching_again_replaces_the_head_and_a_key_signs_it(fleet: Bundle, tmp_path: Path) -> None:
    key = tmp_path / "signing.key"
    key.write_bytes(new_key())
    public = run("bundle", "sign", fleet.path, "--key", key).output.strip()
    data = photos(tmp_path / "photos", {"closed": 6, "open": 6})
    assert teach(fleet, data).exit_code == 0
    trusting = Bundle(fleet.path, trust=public)
    assert "is not signed" in str(_refusal(trusting))
    first = read_head(fleet, "gate").version
    photos(data, {"closed": 3}, first=30)
    assert teach(fleet, data, "--key", key).exit_code == 0
    assert read_head(trusting, "gate").version != first


def _refusal(bundle: Bundle) -> Exception:
    with pytest.raises(Exception, match="head") as caught:
        read_head(bundle, "gate")
    return caught.value


def test_an_interrupted_run_keeps_what_it_computed(
    fleet: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos(tmp_path / "photos", {"closed": 6, "open": 6})

    def interrupted(indices: range) -> Iterator[int]:
        yield from indices[:5]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "shown", interrupted)
        assert teach(fleet, data).exit_code == 1
    assert json.loads(teach(fleet, data, "--json").stdout)["computed"] == 7


def test_two_runs_may_share_a_cache(fleet: Bundle, tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", {"closed": 3, "open": 3})
    dims = fleet.manifest.fusion_spec.feature_dims
    with FeatureCache(tmp_path / "cache", fleet.parts_fingerprint.hex(), dims) as other:
        other.put(b"a picture of another run", [np.zeros(dim, np.float32) for dim in dims])
        assert teach(fleet, data).exit_code == 0
        assert other.get(b"a picture of another run") is not None


def test_a_folder_called_unknown_holds_what_is_none_of_the_classes(
    fleet: Bundle, tmp_path: Path
) -> None:
    data = photos(tmp_path / "photos", {"closed": 9, "open": 9, "ajar": 9})
    (data / "ajar").rename(data / "unknown")
    assert teach(fleet, data).exit_code == 0
    answers = LocalFleet(fleet, threads=1, head="gate")
    best = answers.classify(picture("ajar", 99))[0]
    assert (best.label, best.class_index) == ("unknown", 2)


@pytest.mark.parametrize("name", ["a|b", "$x$ $", "`code`", "<b>", "![x](y)", "x" * 200, "_a_ \\"])
def test_a_report_shows_any_name_as_it_is(fleet: Bundle, tmp_path: Path, name: str) -> None:
    data = photos(tmp_path / "photos", {"closed": 3, "open": 3})
    (data / "open").rename(data / name)
    assert teach(fleet, data).exit_code == 0
    report = (tmp_path / "report/report.md").read_text()
    rows = [line for line in report.splitlines() if line.startswith("| ")]
    unescaped = [re.sub(r"\\(.)", r"\1", line) for line in rows]
    assert any(f"| {name} | 3 | 3 |" in line for line in unescaped)
    assert "<b>" not in report
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows if " 3 | 3 | " in row}) == 1


def test_classify_answers_by_a_head(fleet: Bundle, tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", {"closed": 6, "open": 6})
    assert teach(fleet, data, "--unknown", "0").exit_code == 0
    (tmp_path / "new.png").write_bytes(picture("open", 77))
    said = run("classify", fleet.path, tmp_path / "new.png", "--head", "gate").output
    assert said.startswith(f"{tmp_path}/new.png: open (")
    assert "no head 'door'" in failure(
        run("classify", fleet.path, tmp_path / "new.png", "--head", "door")
    )


def test_a_fleet_of_one_has_no_parts_to_lose(tmp_path: Path) -> None:
    single = make_bundle(tmp_path / "bundle", parts=1)
    data = photos(tmp_path / "photos", {"closed": 5, "open": 5})
    result = json.loads(teach(single, data, "--json").stdout)
    assert result["each_lost"] == []
    assert "## Lost parts" not in (tmp_path / "report/report.md").read_text()
