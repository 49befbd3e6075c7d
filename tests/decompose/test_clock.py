"""Runs that end by the clock: how time is read, shared out, kept over kills, and used up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from msgspec.structs import replace
from torch import nn

from devit_iot.decompose.recipe import StageConfig, load_recipe
from devit_iot.decompose.run_folder.clock import Clock, parse_duration, process_age_s
from devit_iot.decompose.run_folder.folder import RunFolder
from devit_iot.decompose.stages import plan
from devit_iot.decompose.stages.plan import Speed, measure_speed, other_work_s, trainings_left
from devit_iot.decompose.training import loop
from devit_iot.decompose.training.batches import Batch
from devit_iot.decompose.training.loop import Losses, Stage, Trained, fit
from devit_iot.errors import ConfigError
from tests.support.contexts import context

BATCHES = 5
CONFIG = StageConfig(epochs=2, learning_rate=0.1, warmup_epochs=0.0)


class Time:
    """A clock that moves when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3h", 10800), ("8m", 480), ("90s", 90), ("1h 30m", 5400), ("1.5h", 5400), ("2d1h", 176400),
     ("5min", 300)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "3", "h", "3 hours", "-3h", "0s", "3h later", "3x"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ConfigError, match="is no duration; give one like 3h"):
        parse_duration(text)


def test_a_process_knows_its_age() -> None:
    age = process_age_s()
    assert age > 0
    assert age <= process_age_s()


def test_earlier_attempts_count(tmp_path: Path, time: Time) -> None:
    first = Clock(RunFolder(tmp_path), 100.0, before_s=2.0)
    time.now += 30
    assert first.now() == 32
    time.now += 1000  # killed, and nobody came for a while
    second = Clock(RunFolder(tmp_path), 100.0, before_s=1.0)
    assert second.now() == 33
    time.now += 10
    assert second.now() == 43


def test_without_a_limit_nothing_is_kept(tmp_path: Path, time: Time) -> None:
    clock = Clock(RunFolder(tmp_path), None)
    time.now += 30
    assert clock.now() == 30
    assert clock.end_of("x", {"x": 1.0}, 5.0) is None
    assert not list(tmp_path.iterdir())


def test_trainings_share_what_is_left_by_their_costs(tmp_path: Path, time: Time) -> None:
    clock = Clock(RunFolder(tmp_path), 100.0)
    time.now += 10
    assert clock.end_of("one", {"one": 1.0, "two": 3.0}, 10.0) == 10 + 80 / 4
    time.now += 50  # it took longer than it was to
    assert clock.end_of("two", {"two": 3.0}, 10.0) == 90
    time.now += 100
    assert clock.end_of("two", {"two": 3.0}, 10.0) == 160


class Steady:
    """Batches that take a second each."""

    def __init__(self, time: Time) -> None:
        self._time = time

    def __len__(self) -> int:
        return BATCHES

    def epoch(self, index: int, seed: int) -> Iterator[Batch]:  # noqa: ARG002
        for _ in range(BATCHES):
            self._time.now += 1
            yield Batch(torch.ones(1), torch.zeros(1))


def loss(model: nn.Module, batch: Batch) -> Losses:
    return {"label": model(batch.images).square().sum()}


def train(tmp_path: Path, time: Time, clock: Clock, end: float) -> tuple[Trained, list[int]]:
    torch.manual_seed(1)
    told: list[int] = []

    def on_step(done: int, steps: int, _: object) -> None:
        assert steps == 1000
        told.append(done)

    stage = Stage(CONFIG, 1, tmp_path / "x.state", on_step, clock=clock, end=end)
    return fit(nn.Linear(1, 1), Steady(time), loss, stage, Accelerator(cpu=True)), told


def test_a_stage_ends_when_its_time_is_over(tmp_path: Path, time: Time) -> None:
    clock = Clock(RunFolder(tmp_path), 100.0)
    trained, told = train(tmp_path, time, clock, 23.0)
    assert len(told) == 23
    assert told[-1] == 1000
    assert len(trained.history) == 5  # the last one is not a whole epoch
    assert clock.now() == 23


@pytest.mark.parametrize("every_s", [60.0, 1.0])
def test_a_killed_stage_goes_on_and_ends_in_time(
    tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch, every_s: float
) -> None:
    """Stored after every epoch or more often: what was spent before the kill stays spent."""
    monkeypatch.setattr(loop, "STORE_S", every_s)
    clock = Clock(RunFolder(tmp_path), 100.0)
    steps = 0

    def kill(_: nn.Module, batch: Batch) -> Losses:
        nonlocal steps
        steps += 1
        if steps == 14:
            raise KeyboardInterrupt
        return loss(_, batch)

    stage = Stage(CONFIG, 1, tmp_path / "x.state", lambda *_: None, clock=clock, end=23.0)
    with pytest.raises(KeyboardInterrupt):
        fit(nn.Linear(1, 1), Steady(time), kill, stage, Accelerator(cpu=True))
    spent = clock.now()
    again = Clock(RunFolder(tmp_path), 100.0)
    kept = again.now()
    assert spent - 6 <= kept <= spent
    _, told = train(tmp_path, time, again, 23.0)
    assert len(told) == pytest.approx(23 - kept, abs=1)
    assert again.now() == 23


def test_a_stage_without_any_time_still_learns_once(tmp_path: Path, time: Time) -> None:
    clock = Clock(RunFolder(tmp_path), 100.0)
    _, told = train(tmp_path, time, clock, 0.0)
    assert told == [1000]


def test_the_trainings_that_are_left(tmp_path: Path) -> None:
    """The numbers are counted by hand from the shapes of the shipped recipe."""
    recipe, _ = load_recipe("digits")
    run = context(tmp_path, recipe)
    images, teacher = len(run.data.fit), 3_686_912
    train, joint = recipe.teacher.train, recipe.joint
    assert train is not None
    assert joint is not None
    wanted = {
        "teacher": train.epochs * images * 3 * teacher,
        "ensemble": joint.train.epochs * images * (3 * 4 * 0.3 + 1) * teacher,
    }
    assert trainings_left(run) == pytest.approx(wanted)
    run.shared.store("teacher", {})
    assert trainings_left(run) == pytest.approx({"ensemble": wanted["ensemble"]})
    paper = trainings_left(run._replace(recipe=replace(recipe, method="dekd")))
    assert list(paper) == [*(f"distilled-{part}" for part in range(4)), "ensemble"]


def test_on_a_busy_machine_the_report_takes_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = context(tmp_path)
    seconds = {}
    for speed in (Speed(1e9, 1.0), Speed(1e9, 0.25), Speed(0.5e9, 1.0)):
        monkeypatch.setattr(plan, "measure_speed", lambda _, speed=speed: speed)
        seconds[speed] = other_work_s(run)
    quiet, shared, slow = seconds.values()
    assert shared - quiet == pytest.approx(3 * plan.PICTURES_S)
    assert slow - plan.PICTURES_S == pytest.approx(2 * (quiet - plan.PICTURES_S))


def test_the_share_is_what_the_process_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, counted = context(tmp_path), iter((5.0, 5.0))
    assert 0 < measure_speed(run).share <= 1
    monkeypatch.setattr("time.thread_time", lambda: next(counted))
    assert 0 < measure_speed(run).share < 0.02
