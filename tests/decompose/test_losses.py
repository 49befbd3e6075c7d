"""Every loss against its formula in docs/method.md, written out with loops in float64."""

import math
from collections.abc import Callable, Sequence

import kornia.augmentation as kornia
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from devit_iot.decompose.network.losses import (
    cross_entropy,
    imitation,
    relation,
    relations,
    soft_targets,
    token_distance,
)
from devit_iot.decompose.network.models import BlockTrace

Rows = list[list[float]]
SEEDS = st.integers(0, 2**32 - 1)
BATCH, CLASSES = 4, 5


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rows(values: Tensor) -> Rows:
    table: Rows = values.double().tolist()
    return table


def softmax(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    largest = max(scores)
    exponents = [math.exp((score - largest) / temperature) for score in scores]
    return [exponent / sum(exponents) for exponent in exponents]


def divergence(wanted: Sequence[float], found: Sequence[float]) -> float:
    """KL(wanted || found)."""
    return sum(p * math.log(p / q) for p, q in zip(wanted, found, strict=True) if p > 0)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def expect(found: Tensor, wanted: float, tolerance: float = 1e-5) -> None:
    assert found.ndim == 0
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(wanted, rel=tolerance, abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_cross_entropy_with_probabilities(seed: int) -> None:
    logits, targets = random(seed, BATCH, CLASSES), random(seed + 1, BATCH, CLASSES).softmax(1)
    wanted = [
        -sum(p * math.log(q) for p, q in zip(target, softmax(scores), strict=True))
        for target, scores in zip(rows(targets), rows(logits), strict=True)
    ]
    expect(cross_entropy(logits, targets.float()), mean(wanted))


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_hard_imitation_takes_the_teachers_best_class(seed: int) -> None:
    student, teacher = random(seed, BATCH, CLASSES), random(seed + 1, BATCH, CLASSES)
    wanted = [
        -math.log(softmax(scores)[taught.index(max(taught))])
        for scores, taught in zip(rows(student), rows(teacher), strict=True)
    ]
    expect(imitation(student, teacher, 0), mean(wanted))


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, temperature=st.floats(0.5, 8))
def test_soft_imitation_is_hintons(seed: int, temperature: float) -> None:
    student, teacher = random(seed, BATCH, CLASSES), random(seed + 1, BATCH, CLASSES)
    wanted = [
        temperature**2 * divergence(softmax(taught, temperature), softmax(scores, temperature))
        for scores, taught in zip(rows(student), rows(teacher), strict=True)
    ]
    expect(imitation(student, teacher, temperature), mean(wanted), 1e-4)
    expect(imitation(teacher, teacher, temperature), 0.0)


def relation_rows(heads: list[Rows]) -> Rows:
    """softmax(X X^T / sqrt(d)) with X the heads side by side: [tokens][tokens]."""
    tokens = [[x for head in heads for x in head[t]] for t in range(len(heads[0]))]
    scale = 1 / math.sqrt(len(tokens[0]))
    return [
        softmax([scale * sum(a * b for a, b in zip(row, column, strict=True)) for column in tokens])
        for row in tokens
    ]


def slow_relation(student: Tensor, teacher: Tensor) -> float:
    return mean(
        [
            divergence(wanted, found)
            for ours, theirs in zip(student.tolist(), teacher.tolist(), strict=True)
            for wanted, found in zip(relation_rows(theirs), relation_rows(ours), strict=True)
        ]
    )


@settings(deadline=None, max_examples=20)
@given(
    seed=SEEDS,
    ours=st.tuples(st.integers(1, 3), st.integers(1, 5)),
    theirs=st.tuples(st.integers(1, 4), st.integers(1, 6)),
    tokens=st.integers(1, 5),
)
def test_relations_of_other_heads_and_widths(
    seed: int, ours: tuple[int, int], theirs: tuple[int, int], tokens: int
) -> None:
    student = random(seed, 2, ours[0], tokens, ours[1])
    teacher = random(seed + 1, 2, theirs[0], tokens, theirs[1])
    expect(relation(student, teacher), slow_relation(student, teacher), 1e-4)


def test_a_relation_is_blind_to_rotations_and_to_the_cut_into_heads() -> None:
    teacher = random(1, 2, 4, 6, 3)
    expect(relation(teacher, teacher), 0.0)
    joined = teacher.transpose(1, 2).flatten(2)
    rotation, _ = torch.linalg.qr(random(2, 12, 12))
    rotated = (joined @ rotation).unflatten(2, (2, 6)).transpose(1, 2)
    expect(relation(rotated, teacher), 0.0)
    assert relation(random(3, 2, 2, 6, 6), teacher) > 0.01


def test_queries_keys_and_values_have_their_own_weights() -> None:
    def trace(seed: int, heads: int, head_dim: int) -> BlockTrace:
        query, key, value, outputs = (random(seed + i, 2, heads, 4, head_dim) for i in range(4))
        return BlockTrace(query, key, value, outputs, random(seed + 9, 2, 4, 7))

    student, teacher = trace(10, 2, 3), trace(20, 3, 5)
    weights = (0.2, 0.1, 0.3)
    wanted = sum(
        weight * slow_relation(ours, theirs)
        for weight, ours, theirs in zip(weights, student[:3], teacher[:3], strict=True)
    )
    expect(relations(student, teacher, weights), wanted, 1e-4)


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (2, 2), (1, 2), (2, 1)])
def test_token_distance(ours: int, theirs: int) -> None:
    hidden, teacher = random(1, BATCH, ours, 6), random(2, BATCH, theirs, 6)
    squares = []
    for image in range(BATCH):
        for token in range(ours):
            for i in range(6):
                met = [teacher[image, k, i].item() for k in range(theirs)]
                target = met[token] if ours == theirs else mean(met)
                squares.append((hidden[image, token, i].item() - target) ** 2)
    expect(token_distance(hidden, teacher), mean(squares))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_targets_of_labels(smoothing: float) -> None:
    labels = [3, 0, 4, 4]
    wanted = [
        [smoothing / CLASSES + (1 - smoothing) * (c == label) for c in range(CLASSES)]
        for label in labels
    ]
    found = soft_targets(torch.tensor(labels), CLASSES, smoothing)
    torch.testing.assert_close(found, torch.tensor(wanted))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_targets_of_mixed_labels(smoothing: float) -> None:
    triples = [[1.0, 3.0, 0.25], [2.0, 2.0, 0.7], [0.0, 4.0, 0.0], [4.0, 0.0, 1.0]]
    wanted = [[smoothing / CLASSES] * CLASSES for _ in triples]
    for row, (first, second, share) in zip(wanted, triples, strict=True):
        row[int(first)] += (1 - smoothing) * (1 - share)
        row[int(second)] += (1 - smoothing) * share
    found = soft_targets(torch.tensor(triples), CLASSES, smoothing)
    torch.testing.assert_close(found, torch.tensor(wanted))
    torch.testing.assert_close(found.sum(dim=1), torch.ones(4))


def test_soft_targets_take_what_mixup_returns() -> None:
    torch.manual_seed(5)
    labels = torch.tensor([0, 1, 2, 3, 4])
    colours = labels[:, None, None, None].float().expand(-1, 3, 4, 4)
    mixup = kornia.RandomMixUpV2(p=1.0, data_keys=["input", "class"])
    images, triples = mixup(colours, labels)
    found = soft_targets(triples.reshape(-1, 3), CLASSES, 0.0)
    torch.testing.assert_close(found @ torch.arange(5.0), images[:, 0, 0, 0])


LOGITS = random(4, BATCH, CLASSES)
TOKENS = random(5, 2, 2, 3, 4)


@pytest.mark.parametrize(
    "loss",
    [
        lambda dtype: cross_entropy(LOGITS.to(dtype), LOGITS.softmax(1).float()),
        lambda dtype: imitation(LOGITS.to(dtype), LOGITS.flip(0).to(dtype), 0),
        lambda dtype: imitation(LOGITS.to(dtype), LOGITS.flip(0).to(dtype), 3.0),
        lambda dtype: relation(TOKENS.to(dtype), TOKENS.flip(2).to(dtype)),
        lambda dtype: token_distance(LOGITS[None].to(dtype), LOGITS[None].flip(1).to(dtype)),
    ],
    ids=["cross_entropy", "hard", "soft", "relation", "token"],
)
def test_short_floats_are_summed_in_float32(loss: Callable[[torch.dtype], Tensor]) -> None:
    expect(loss(torch.bfloat16), loss(torch.float64).item(), 0.05)
