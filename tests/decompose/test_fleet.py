"""The fleet as one network: fusion, lost parts in training, and what evaluation makes of them."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.decompose.network.fleet import Fleet, FusionHead, drop_parts
from devit_iot.decompose.network.models import SubVit
from devit_iot.decompose.stages.export import Folding, export_fleet, published
from devit_iot.evaluation.lost_parts import Fused
from devit_iot.export.fold import Normalisation

CLASSES = 3
SPECS = (
    SubVitSpec(8, 8, 4, 6, 3, 2, (BlockSpec(1, 4),)),
    SubVitSpec(8, 8, 2, 10, 2, 2, (BlockSpec(2, 5), BlockSpec(1, 7))),
    SubVitSpec(8, 8, 8, 4, 4, 2, (BlockSpec(1, 3),)),
)


def random_fleet() -> Fleet:
    torch.manual_seed(6)
    fleet = Fleet([SubVit(spec) for spec in SPECS], FusionHead(SPECS, 7, CLASSES)).eval()
    with torch.no_grad():
        for parameter in fleet.parameters():
            parameter.normal_(std=0.5)
    return fleet


def random_tokens(count: int, seed: int, parts: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, 2, 4 + part, generator=generator) for part in range(parts)]


def kept(before: list[Tensor], after: list[Tensor]) -> Tensor:
    """Who was not replaced by the batch mean: bool[batch, parts]; anything else fails."""
    found = []
    for was, now in zip(before, after, strict=True):
        same = (was == now).all(dim=2).all(dim=1)
        mean = was.mean(dim=0).expand_as(was)
        torch.testing.assert_close(now[~same], mean[~same])
        found.append(same)
    return torch.stack(found, dim=1)


def test_lost_parts_are_replaced_by_the_batch_mean_and_one_is_kept() -> None:
    torch.manual_seed(0)
    tokens = random_tokens(2000, 1)
    found = kept(tokens, drop_parts(tokens, 0.9))
    assert found.sum(dim=1).min() == 1
    # 0.1 each, and where all are lost (0.9 ** 3) one of the three is kept.
    assert found.float().mean(dim=0).numpy() == pytest.approx([0.1 + 0.9**3 / 3] * 3, abs=0.04)
    assert len({tuple(row.tolist()) for row in found}) == 2**3 - 1


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    probability=st.floats(0, 1),
    parts=st.integers(1, 5),
    count=st.integers(2, 20),
)
def test_at_least_one_part_of_each_image_is_kept(
    seed: int, probability: float, parts: int, count: int
) -> None:
    torch.manual_seed(seed)
    tokens = random_tokens(count, seed, parts)
    assert kept(tokens, drop_parts(tokens, probability)).any(dim=1).all()


def test_the_extremes() -> None:
    torch.manual_seed(0)
    tokens = random_tokens(300, 2)
    assert kept(tokens, drop_parts(tokens, 0.0)).all()
    assert (kept(tokens, drop_parts(tokens, 1.0)).sum(dim=1) == 1).all()
    alone = tokens[:1]
    assert torch.equal(drop_parts(alone, 1.0)[0], alone[0])


def test_the_fleet_fuses_what_its_parts_publish() -> None:
    fleet = random_fleet()
    images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        output = fleet(images)
        tokens = [part(images).tokens for part in fleet.parts]
        state = fleet.head.state_dict()
        for k in range(2):  # docs/method.md, eq. 10
            joined = torch.cat([token[:, k] for token in tokens], dim=1)
            hidden = joined @ state[f"gather.{k}.weight"].T + state[f"gather.{k}.bias"]
            logits = hidden @ state[f"classify.{k}.weight"].T + state[f"classify.{k}.bias"]
            torch.testing.assert_close(output.hidden[:, k], hidden)
            torch.testing.assert_close(output.logits[:, k], logits)
    for found, wanted in zip(output.tokens, tokens, strict=True):
        assert torch.equal(found, wanted)


def test_the_class_maps_are_the_fusion_multiplied_out() -> None:
    fleet = random_fleet()
    tokens = [torch.randn(5, 2, spec.embed_dim) for spec in SPECS]
    maps, bias = fleet.head.class_maps()
    terms = [
        token.flatten(1).double().numpy() @ matrix.T
        for token, matrix in zip(tokens, maps, strict=True)
    ]
    with torch.no_grad():
        wanted = fleet.head(tokens)[0].mean(dim=1).numpy()
    np.testing.assert_allclose(np.sum(terms, axis=0) + bias, wanted, rtol=1e-4, atol=1e-4)


def test_dropout_changes_the_logits_and_not_the_published_tokens() -> None:
    fleet = random_fleet()
    images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        whole = fleet(images)
        torch.manual_seed(1)
        lossy = fleet(images, 0.5)
        torch.manual_seed(1)
        logits, hidden = fleet.head(drop_parts(whole.tokens, 0.5))
    torch.testing.assert_close(lossy.logits, logits)
    torch.testing.assert_close(lossy.hidden, hidden)
    for found, wanted in zip(lossy.tokens, whole.tokens, strict=True):
        assert torch.equal(found, wanted)
    assert not torch.allclose(lossy.logits, whole.logits)


def test_evaluation_counts_lost_parts_as_the_fleet_would() -> None:
    """Its numbers are those of the trained network with mean tokens in the places of the lost."""
    fleet = random_fleet().double()
    rng = np.random.default_rng(9)
    images = rng.integers(0, 256, (60, 8, 8, 3), np.uint8)
    labels = rng.integers(0, CLASSES, 60)
    with torch.no_grad():
        tokens = fleet(torch.from_numpy(images / 255).permute(0, 3, 1, 2)).tokens
    means = [token.mean(dim=0) for token in tokens]
    parts = [part for part in fleet.parts if isinstance(part, SubVit)]
    folding = Folding(Normalisation((0, 0, 0), (1, 1, 1)), images[0])
    exported = export_fleet(parts, fleet.head, [(0,), (1,), (2,)], means, folding)
    features = [published(token, part) for token, part in zip(tokens, parts, strict=True)]
    found = Fused(features, exported.fusion, labels)

    def top1(lost: tuple[int, ...]) -> float:
        given_tokens = [
            means[part].expand_as(token) if part in lost else token
            for part, token in enumerate(tokens)
        ]
        with torch.no_grad():
            scores = fleet.head(given_tokens)[0].mean(dim=1)
        return float((scores.argmax(dim=1).numpy() == labels).mean())

    assert found.counts() == [0, 1, 2]
    for lost in map(found.lose, found.counts()):
        every = [top1(absent) for absent in itertools.combinations(range(3), lost.count)]
        assert lost.mean == pytest.approx(np.mean(every))
        assert lost.worst == pytest.approx(min(every)) == pytest.approx(top1(lost.worst_parts))
