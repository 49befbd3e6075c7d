"""Joint decomposition: its loss, each part's own answer, and whole runs of it."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor

from devit_iot.decompose.network.fleet import Fleet, FusionHead
from devit_iot.decompose.network.models import SubVit
from devit_iot.decompose.recipe import EnsembleConfig, JointConfig, StageConfig
from devit_iot.decompose.shrinking.importance import BlockImportance
from devit_iot.decompose.shrinking.policy import BlockPolicy, Policy
from devit_iot.decompose.stages.ensemble import ensemble_loss
from devit_iot.decompose.stages.joint import joint_loss
from devit_iot.decompose.stages.shrink import OVERLAP_DISCOUNT, discounted
from devit_iot.decompose.stages.subtask import sub_tasks
from devit_iot.decompose.training.batches import Answers, Batch
from tests.support.shapes import DEIT, random_model

CLASSES = 5
GROUPS = ((0, 1, 2), (3, 4))
TRAIN = StageConfig(epochs=1, learning_rate=1e-3)
F64 = NDArray[np.float64]


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    torch.manual_seed(5)
    specs = [DEIT, replace(DEIT, embed_dim=16)]
    made = Fleet([SubVit(spec) for spec in specs], FusionHead(specs, 12, CLASSES)).double().eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


@pytest.fixture(scope="module")
def batch() -> Batch:
    torch.manual_seed(6)
    images = torch.randn(7, 3, 32, 32, dtype=torch.float64)
    answers = Answers(torch.randn(7, CLASSES, dtype=torch.float64) * 2)
    return Batch(images, torch.randint(CLASSES, (7,)), answers)


def softmax(logits: F64) -> F64:
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: F64 = exponent / exponent.sum(axis=1, keepdims=True)
    return result


def learned(logits: Tensor, batch: Batch, weights: Sequence[float] | None = None) -> float:
    """0.5 CE(class token, label) + 0.5 * 4 KL(teacher / 2 || distillation token / 2)."""
    assert batch.answers is not None
    first, last = (logits[:, k].numpy() for k in (0, -1))
    labels = batch.labels.numpy()
    weight = np.ones(CLASSES) if weights is None else np.array(weights)
    each = -np.log(softmax(first)[np.arange(len(labels)), labels]) * weight[labels]
    wanted, found = softmax(batch.answers.logits.numpy() / 2), softmax(last / 2)
    distance = (wanted * (np.log(wanted) - np.log(found))).sum(axis=1).mean()
    return float(0.5 * each.sum() / weight[labels].sum() + 0.5 * 4 * distance)


def test_a_part_alone_answers_with_its_share_of_the_sum(fleet: Fleet, batch: Batch) -> None:
    with torch.no_grad():
        output = fleet(batch.images, individual=True)
        maps, bias = fleet.head.class_maps()
    assert output.individual.shape == (2, 7, 2, CLASSES)
    torch.testing.assert_close(output.individual.mean(dim=0), output.logits)
    for part, tokens in enumerate(output.tokens):
        wanted = 2 * tokens.flatten(1).numpy() @ maps[part].T + bias
        np.testing.assert_allclose(output.individual[part].mean(dim=1).numpy(), wanted, atol=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("own", [0.0, 2.0])
def test_the_loss_is_the_modular_one(fleet: Fleet, batch: Batch, share: float, own: float) -> None:
    """(1 - lambda) L(fused) + lambda mean_i L(part i), in float64."""
    config = JointConfig(
        TRAIN, imitation=0.5, temperature=2.0, individual=share, own=own, part_dropout=0.0
    )
    teacher = random_model(DEIT)
    loss = joint_loss(config, sub_tasks(GROUPS, 0.0), teacher, 0.0)
    with torch.no_grad():
        terms = loss(fleet, batch)
        output = fleet(batch.images, individual=True)
    fused = learned(output.logits, batch)
    weights = [[1 + own * (c in group) for c in range(CLASSES)] for group in GROUPS]
    alone = [
        learned(logits, batch, w) for logits, w in zip(output.individual, weights, strict=True)
    ]
    wanted = (1 - share) * fused + share * np.mean(alone)
    assert float(torch.stack(list(terms.values())).sum()) == pytest.approx(wanted, rel=1e-5)
    assert ("individual" in terms) == (share > 0)


def test_without_own_answers_it_is_the_last_stage_of_the_paper(fleet: Fleet, batch: Batch) -> None:
    teacher = random_model(DEIT)
    common = {"imitation": 0.4, "part_dropout": 0.0, "token": 0.0}
    joint = joint_loss(
        JointConfig(TRAIN, individual=0.0, **common), sub_tasks(GROUPS, 0.0), teacher, 0.1
    )
    ensemble = ensemble_loss(EnsembleConfig(TRAIN, **common), teacher, 0.1)
    with torch.no_grad():
        assert joint(fleet, batch) == ensemble(fleet, batch)


def test_without_stored_answers_the_teacher_is_asked(fleet: Fleet, batch: Batch) -> None:
    teacher = random_model(DEIT)
    config = JointConfig(TRAIN, token=0.0, part_dropout=0.0)
    loss = joint_loss(config, sub_tasks(GROUPS, 0.0), teacher, 0.0)
    with torch.no_grad():
        answers = Answers(teacher(batch.images).logits.mean(dim=1))
        stored = loss(fleet, batch._replace(answers=answers))
        asked = loss(fleet, batch._replace(answers=None))
    assert stored == asked


def test_what_earlier_parts_keep_counts_less() -> None:
    importance = [BlockImportance(np.array([-1.0, 0.0, 1.0]), np.array([1.0, 2.0, 3.0, 4.0]))] * 2
    policy = Policy((BlockPolicy((1,), (0, 3)), None))
    found = discounted(importance, [policy, policy])
    less = OVERLAP_DISCOUNT**2
    np.testing.assert_allclose(found[0].heads, [0, less, 2])
    np.testing.assert_allclose(found[0].neurons, [less, 2, 3, 4 * less])
    np.testing.assert_allclose(found[1].heads, [0, 1, 2])
    assert importance[0].neurons.tolist() == [1, 2, 3, 4]
