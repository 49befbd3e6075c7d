"""``devit plan`` as a person runs it, and the files that it writes."""

import json
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from devit_iot.bench.models import random_tensors
from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import FusionSpec, macs
from devit_iot.bundle.writing import PartData, write_bundle
from devit_iot.cli import plan_boards
from devit_iot.cli.plan import plan
from devit_iot.config.board_profile import write_profile
from devit_iot.errors import ConfigError
from devit_iot.export.reference import with_golden
from devit_iot.planning.plan import Plan
from devit_iot.planning.plan_file import read_plan, write_plan
from devit_iot.protocol.board import BoardProfile
from tests.golden.make import NODE_STATUS_4
from tests.support.boards import board, kind
from tests.support.fleets import make_bundle

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "fleet", parts=3)


@pytest.fixture
def boards(tmp_path: Path) -> dict[str, str]:
    """Name -> its profile's file: one fast board, two slower ones, one small one, one unknown."""
    made = [board("fast", 1), board("middle", 2), board("slow", 4)]
    made += [
        board("small", memory_mib=501, overhead_mib=500),
        BoardProfile("unknown", memory_mib=9),
    ]
    for profile in made:
        write_profile(profile, tmp_path / f"{profile.name}.toml")
    return {profile.name: str(tmp_path / f"{profile.name}.toml") for profile in made}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(plan, [str(argument) for argument in arguments])


def refusal(*arguments: object) -> str:
    """The one line with which the command ends."""
    done = run(*arguments)
    assert done.exit_code == 1, done.output
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    return line


def test_a_bundle_is_assigned_and_written(
    tmp_path: Path, fleet: Bundle, boards: dict[str, str]
) -> None:
    file, picture = tmp_path / "plan.toml", tmp_path / "plan.png"
    done = run(
        *("--bundle", fleet.path, "--board", boards["fast"], "--board", boards["slow"]),
        *("--board", f"{boards['middle']}:2", "--output", file, "--picture", picture, "--json"),
    )
    assert done.exit_code == 0, done.output
    printed = msgspec.json.decode(done.stdout, type=Plan)
    assert read_plan(file) == printed
    assert picture.read_bytes().startswith(PNG)
    assert printed.fingerprint == fleet.manifest.fingerprint
    assert [b.part for b in printed.boards] == [0, 1, 2]
    assert {b.name for b in printed.boards} == {"fast", "middle-1", "middle-2"}
    assert [spare.name for spare in printed.spares] == ["slow"]
    for row in printed.boards:
        total = row.network_ms + row.decode_ms + row.compute_ms
        assert row.total_ms == pytest.approx(total, rel=1e-3)
        assert row.mmacs == pytest.approx(macs(fleet.part(row.part).spec) / 1e6, rel=1e-3)
    assert printed.slowest_ms == max(row.total_ms for row in printed.boards)
    assert printed.decompose == ""


def test_a_teacher_is_cut_to_the_boards(tmp_path: Path, boards: dict[str, str]) -> None:
    teacher = teacher_bundle(tmp_path / "teacher")
    given = [word for name in ("fast", "middle", "slow") for word in ("--board", boards[name])]
    done = run("--teacher", teacher.path, *given, "--macs", "0.2,0.4,0.6,0.8", "--image-bytes", 500)
    assert done.exit_code == 0, done.output
    assert "to make the parts: devit decompose run RECIPE --parts " in done.output
    assert "equal parts on all boards: " in done.output
    as_json = json.loads(
        run("--teacher", teacher.path, *given, "--capacity", "1.5", "--json").stdout
    )
    assert sum(row["mmacs"] for row in as_json["boards"]) >= 1.4 * macs(teacher.part(0).spec) / 1e6
    count = len({row["part"] for row in as_json["boards"]})
    assert f"--parts {count} --macs " in as_json["decompose"]


def teacher_bundle(path: Path) -> Bundle:
    """A network of one part that can be shrunk."""
    spec = kind(1.0, dim=64).spec
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (224, 224, 3), np.uint8)
    part = PartData(spec, (0, 1), with_golden(spec, random_tensors(spec, 0), image))
    fusion = {
        t.name: np.zeros(t.shape, np.float32) for t in FusionSpec(2, (spec.feature_dim,)).tensors()
    }
    return write_bundle(
        path, name="big", classes=["a", "b"], parts=[part], fusion=fusion, provenance={}
    )


def test_the_best_of_several_bundles_is_taken(
    tmp_path: Path, fleet: Bundle, boards: dict[str, str]
) -> None:
    """A bundle that cannot be planned is named, and its results.json is where accuracy is from."""
    large = make_bundle(tmp_path / "run" / "bundle", parts=2, seed=1)
    (tmp_path / "run" / "results.json").write_text('{"name": "x", "test_top1": 0.75}')
    two = ("--board", boards["fast"], "--board", boards["middle"])
    done = run("--bundle", fleet.path, "--bundle", large.path, *two)
    assert done.exit_code == 0, done.output
    assert f"left out: {fleet.path}: the bundle has 3 parts and there are 2 boards" in done.stderr
    assert "test top-1: 75.00%" in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bundle", "FLEET"], "no board to plan with"),
        (["--board", "fast"], "say where the parts come from"),
        (["--bundle", "FLEET", "--teacher", "FLEET"], "say where the parts come from"),
        (["--bundle", "FLEET", "--board", "pi9"], "no board 'pi9': give the file"),
        (["--bundle", "FLEET", "--board", "nowhere.toml"], "cannot read the profile nowhere.toml"),
        (["--bundle", "FLEET", "--board", "fast:0"], "there are 1 to 1000 boards of a kind"),
        (["--bundle", "FLEET", "--board", "a b=fast"], "board 'a b' is not a usable name"),
        (["--bundle", "FLEET", "--board", "fast", "--board", "fast"], "two boards are called"),
        (["--bundle", "FLEET", "--board", "unknown:3"], "was never measured"),
        (["--bundle", "FLEET", "--board", "fast"], "has 3 parts and there are 1 boards"),
        (["--bundle", "FLEET", "--board", "fast:3", "--macs", "0.5"], "--macs is for parts"),
        (["--bundle", "FLEET", "--board", "fast:3", "--capacity", "1"], "needs a unit"),
        (["--bundle", "FLEET", "--board", "fast:3", "--rate", "1e6"], "no plan serves 1e+06"),
        (["--bundle", "nowhere", "--board", "fast:3"], "is not a bundle"),
        (["--teacher", "FLEET", "--board", "fast"], "is a fleet of 3 parts"),
        (["--teacher", "TEACHER", "--board", "fast", "--macs", "much"], "'much' is no number"),
        (["--teacher", "TEACHER", "--board", "fast", "--macs", "2"], "more than the whole"),
        (["--teacher", "TEACHER", "--board", "fast", "--macs", "-1"], "not a positive number"),
        (["--teacher", "TEACHER", "--board", "fast", "--macs", "1e-9"], "as small as 1e-09"),
        (["--teacher", "TEACHER", "--board", "small", "--macs", "1"], "no board has enough memory"),
        (["--teacher", "TEACHER", "--board", "fast", "--capacity", "9"], "lower --capacity"),
        (["--teacher", "TEACHER", "--board", "fast", "--parts", "2"], "--parts asks for 2"),
        (["--recipe", "nothing", "--board", "fast"], "no recipe 'nothing'"),
        (["--bundle", "FLEET", "--board", "fast:3", "--output", "no/where.toml"], "cannot write"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_is_said_in_one_line(
    tmp_path: Path, fleet: Bundle, boards: dict[str, str], arguments: list[str], words: str
) -> None:
    places = {"FLEET": str(fleet.path)}
    if "TEACHER" in arguments:
        places["TEACHER"] = str(teacher_bundle(tmp_path / "teacher").path)

    def filled(word: str) -> str:
        before, mark, name = word.rpartition("=")
        name, colon, count = name.partition(":")
        return places.get(word) or before + mark + boards.get(name, name) + colon + count

    assert words in refusal(*map(filled, arguments))


def test_a_board_that_was_never_measured_is_named(
    tmp_path: Path, fleet: Bundle, boards: dict[str, str]
) -> None:
    path = tmp_path / "new.toml"
    write_profile(BoardProfile("new", memory_mib=900, overhead_mib=100), path)
    said = refusal("--bundle", fleet.path, "--board", f"{boards['fast']}:2", "--board", path)
    assert "board 'new' was never measured: run devit bench --profile" in said


def test_a_plan_needs_its_solver(
    fleet: Bundle, boards: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    said = refusal("--bundle", fleet.path, "--board", f"{boards['fast']}:3")
    assert "planning needs scipy: pip install 'devit-iot[plan]'" in said


def test_a_shipped_estimate_is_a_board(fleet: Bundle) -> None:
    done = run("--bundle", fleet.path, "--board", "pi5", "--board", "zero2w:2")
    assert done.exit_code == 0, done.output
    assert "zero2w-2" in done.output


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "b"', 'name = "a"', "board 'a' stands there twice"),
        ("part = 1", "part = 7", "a board has a part that is not 0 to 1"),
        ('replica = "0/1"', 'replica = "1/2"', "are not replicas 0/n to n-1/n of it"),
        ("parts = 2", "parts = 3", "the boards of part 2 are not"),
        ("parts = 2", "parst = 2", "unknown key 'parst'; did you mean 'parts'?"),
        ("parts = 2", "parts = ", "is not valid TOML"),
    ],
)
def test_a_plan_that_was_edited_wrongly_is_refused(
    tmp_path: Path, boards: dict[str, str], old: str, new: str, words: str
) -> None:
    two = make_bundle(tmp_path / "two", parts=2)
    file = tmp_path / "plan.toml"
    given = [word for name in "ab" for word in ("--board", f"{name}={boards['fast']}")]
    assert run("--bundle", two.path, *given, "--output", file).exit_code == 0
    write_plan(read_plan(file), file)  # as it was
    lines = file.read_text()
    assert old in lines
    file.write_text(lines.replace(old, new, 1))
    with pytest.raises(ConfigError) as error:
        read_plan(file)
    assert words in str(error.value)


def test_what_nodes_announced_is_taken_or_named(capsys: pytest.CaptureFixture[str]) -> None:
    broken = msgspec.structs.replace(NODE_STATUS_4, board=board("x", cores=0))
    silent = msgspec.structs.replace(NODE_STATUS_4, board=None)
    heard = {
        "pi-1": NODE_STATUS_4.encode(),
        "pi-2": NODE_STATUS_4.gone().encode(),
        "pi-3": silent.encode(),
        "pi-4": broken.encode(),
        "pi-5": b"{",
        "pi-6": b"",
    }
    found = [b for name, payload in heard.items() for b in plan_boards._announced(name, payload)]
    assert found == [NODE_STATUS_4.board]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("left out: pi-") for line in lines)
    assert "it is offline" in lines[0]
    assert "start it with --profile FILE" in lines[1]
    assert "cores is 0" in lines[2]
