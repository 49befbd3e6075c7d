"""Steps that are captured once for each shape of batch."""

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from devit_iot.decompose.recipe import StageConfig
from devit_iot.decompose.training.batches import Answers, Batch
from devit_iot.decompose.training.captured import EAGER_STEPS, Captured, Step
from devit_iot.decompose.training.loop import Stage, _Training


def batch(count: int, *, mixed: bool = False, answers: bool = False) -> Batch:
    labels = torch.rand(count, 3) if mixed else torch.randint(5, (count,))
    return Batch(
        torch.rand(count, 3, 4, 4), labels, Answers(torch.rand(count, 5)) if answers else None
    )


class Recorder:
    """Notes which batches were learned by the step itself, and which by what was captured."""

    def __init__(self) -> None:
        self.eager: list[int] = []
        self.captures: list[int] = []
        self.repeated: list[int] = []

    def step(self, given: Batch) -> Tensor:
        self.eager.append(len(given.images))
        return given.images.sum()[None]

    def capture(self, _: Step, given: Batch) -> Step:
        self.captures.append(len(given.images))

        def repeat(other: Batch) -> Tensor:
            self.repeated.append(len(other.images))
            return other.images.sum()[None]

        return repeat


def test_every_batch_is_learned_once_and_each_shape_captured_once() -> None:
    recorder = Recorder()
    learn = Captured(recorder.step, recorder.capture)
    for _ in range(EAGER_STEPS + 4):
        given = batch(8)
        assert learn(given).item() == pytest.approx(float(given.images.sum()))
        learn(batch(3))
    for count in (8, 3):
        assert recorder.eager.count(count) == EAGER_STEPS
        assert recorder.repeated.count(count) == 4
    assert sorted(recorder.captures) == [3, 8]


@pytest.mark.parametrize("other", [{"mixed": True}, {"answers": True}])
def test_batches_of_other_labels_or_answers_are_another_shape(other: dict[str, bool]) -> None:
    recorder = Recorder()
    learn = Captured(recorder.step, recorder.capture)
    for _ in range(EAGER_STEPS + 1):
        learn(batch(8))
    learn(batch(8, **other))
    assert recorder.captures == [8]
    assert len(recorder.eager) == EAGER_STEPS + 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_captured_training_gives_the_weights_of_an_eager_one(tmp_path: object) -> None:
    def train(*, captured: bool) -> tuple[Tensor, list[float]]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.GELU(), nn.Linear(32, 5))
        stage = Stage(StageConfig(4, 1e-2), 0, tmp_path / "state", lambda *_: None)  # type: ignore[operator]
        accelerator = Accelerator(mixed_precision="bf16")

        def loss(network: nn.Module, given: Batch) -> dict[str, Tensor]:
            return {"label": nn.functional.cross_entropy(network(given.images), given.labels)}

        training = _Training(model, loss, stage, accelerator)
        if not captured:
            training._learn = training._learn_once
        losses = []
        for index in range(20):
            given = batch(16 if index % 5 else 7)
            on_device = Batch(given.images.cuda(), given.labels.cuda())
            losses.append(training.step(on_device, index / 20)["loss"])
        return torch.cat([value.flatten() for value in model.parameters()]).detach(), losses

    (eager, eager_losses), (repeated, losses) = train(captured=False), train(captured=True)
    assert losses == pytest.approx(eager_losses, rel=1e-2)
    torch.testing.assert_close(repeated, eager, rtol=1e-2, atol=1e-3)
