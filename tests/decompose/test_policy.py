"""The search meets its budget, repeats itself, and finds what is there to find."""

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from devit_iot.bundle.spec import BlockSpec, SubVitSpec, macs
from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.shrinking.budget import Budget
from devit_iot.decompose.shrinking.heldout import HeldOut
from devit_iot.decompose.shrinking.importance import BlockImportance
from devit_iot.decompose.shrinking.policy import Policy
from devit_iot.decompose.shrinking.search import METHODS, Method, search
from devit_iot.errors import SpecError

DEIT_SMALL = SubVitSpec(
    image_size=224,
    resize_size=256,
    patch_size=16,
    embed_dim=384,
    head_dim=64,
    prefix_tokens=2,
    blocks=(BlockSpec(6, 1536),) * 12,
)
TINY = msgspec.structs.replace(
    DEIT_SMALL,
    image_size=16,
    resize_size=16,
    patch_size=4,
    embed_dim=16,
    head_dim=4,
    blocks=(BlockSpec(4, 64), BlockSpec(3, 60), BlockSpec(4, 32)),
)


def random_importance(spec: SubVitSpec) -> list[BlockImportance]:
    rng = np.random.default_rng(1)
    return [
        BlockImportance(rng.normal(size=block.heads), rng.uniform(size=block.mlp_dim))
        for block in spec.blocks
    ]


def early_heads_late_neurons(policy: Policy) -> float:
    """A loss whose best policies are far from equal densities."""
    loss = 0.0
    for index, block in enumerate(policy.blocks):
        heads, neurons = (len(block.heads), len(block.neurons)) if block else (0, 0)
        loss -= heads * 250 if index < 6 else neurons
    return loss


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.7])
def test_every_candidate_meets_the_budget(method: Method, ratio: float) -> None:
    importance = random_importance(DEIT_SMALL)
    candidates: list[Policy] = []

    def loss(policy: Policy) -> float:
        candidates.append(policy)
        return early_heads_late_neurons(policy)

    found = search(DEIT_SMALL, importance, loss, ratio=ratio, method=method, evaluations=40)
    target = ratio * macs(DEIT_SMALL)
    assert len(candidates) == len(set(candidates)) == len(found.history) == 40
    for policy in candidates:
        small = policy.shrink(DEIT_SMALL)
        assert 0.98 * target <= macs(small) <= target
        assert all(block.heads >= 1 and block.mlp_dim % 8 == 0 for block in small.blocks)
    assert found.loss == min(found.history) == early_heads_late_neurons(found.policy)


SHAPES = st.builds(
    lambda base, embed_dim, head_dim, blocks: msgspec.structs.replace(
        base, embed_dim=embed_dim, head_dim=head_dim, blocks=tuple(blocks)
    ),
    st.sampled_from([DEIT_SMALL, TINY]),
    st.sampled_from([16, 24, 192, 384]),
    st.sampled_from([4, 16, 64]),
    st.lists(st.builds(BlockSpec, st.integers(1, 8), st.integers(8, 700)), min_size=2, max_size=13),
)


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.floats(0.1, 0.95), st.sampled_from([1, 8, 16]))
def test_whatever_evolution_begins_with_meets_the_budget(
    spec: SubVitSpec, ratio: float, multiple: int
) -> None:
    """A start has every block, every second, third or fourth one, or blocks by importance."""
    budget = Budget(spec, ratio, multiple)
    candidates: list[Policy] = []

    def loss(policy: Policy) -> float:
        candidates.append(policy)
        return float(len(candidates))

    importance = random_importance(spec)
    try:
        search(spec, importance, loss, ratio=ratio, evaluations=10, multiple=multiple)
    except SpecError:
        assert not candidates
    target = int(ratio * macs(spec))
    assert budget.target == target
    slack = max(0.02 * target, multiple * budget.neuron_cost)
    for policy in candidates:
        small = policy.shrink(spec)
        assert target - slack <= macs(small) <= target
        whole = [whole for whole, kept in zip(spec.blocks, policy.blocks, strict=True) if kept]
        for before, block in zip(whole, small.blocks, strict=True):
            assert 1 <= block.heads <= before.heads
            assert block.mlp_dim == before.mlp_dim or block.mlp_dim % multiple == 0
            assert block.mlp_dim >= min(multiple, before.mlp_dim)


@pytest.mark.parametrize(
    ("ratio", "strides"), [(0.5, [1, 2]), (0.3, [1, 2, 3]), (0.2, [1, 2, 3, 4])]
)
def test_evolution_begins_with_every_first_second_third_and_fourth_block(
    ratio: float, strides: list[int]
) -> None:
    """A stride whose whole blocks cost less than the budget is no candidate."""
    candidates: list[Policy] = []

    def loss(policy: Policy) -> float:
        candidates.append(policy)
        return 0.0

    search(DEIT_SMALL, random_importance(DEIT_SMALL), loss, ratio=ratio, evaluations=4)
    kept = [[block is not None for block in policy.blocks] for policy in candidates]
    wanted = [[index % stride == 0 for index in range(12)] for stride in strides]
    assert kept[: len(strides)] == wanted
    assert all(all(blocks) for blocks in kept[len(strides) :])


def test_the_best_of_each_layer_stay() -> None:
    importance = random_importance(TINY)
    policy = search(TINY, importance, lambda _: 0.0, ratio=0.6, evaluations=1).policy
    for block, kept in zip(importance, policy.blocks, strict=True):
        assert kept is not None
        for scores, indices in ((block.heads, kept.heads), (block.neurons, kept.neurons)):
            gone = np.delete(scores, indices)
            assert gone.size == 0 or scores[list(indices)].min() >= gone.max()


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_repeats(method: Method) -> None:
    importance = random_importance(DEIT_SMALL)
    first, second, other = (
        search(
            DEIT_SMALL,
            importance,
            early_heads_late_neurons,
            ratio=0.5,
            method=method,
            evaluations=30,
            seed=seed,
        )
        for seed in (5, 5, 6)
    )
    assert first == second
    assert first.history != other.history


def test_evolution_finds_more_than_chance() -> None:
    importance = random_importance(DEIT_SMALL)
    chance, evolved = (
        search(DEIT_SMALL, importance, early_heads_late_neurons, ratio=0.5, method=method).loss
        for method in ("random", "evolution")
    )
    assert evolved < chance


def test_norms_in_the_stream_keep_every_block() -> None:
    spec = msgspec.structs.replace(DEIT_SMALL, residual_norm=True)
    seen: list[Policy] = []

    def loss(policy: Policy) -> float:
        seen.append(policy)
        return -len(seen)

    search(spec, random_importance(spec), loss, ratio=0.5)
    assert all(None not in policy.blocks for policy in seen)


def test_a_block_may_go() -> None:
    importance = random_importance(DEIT_SMALL)
    found = search(DEIT_SMALL, importance, lambda p: -sum(b is None for b in p.blocks), ratio=0.5)
    assert None in found.policy.blocks


def test_a_search_that_cannot_be() -> None:
    importance = random_importance(TINY)
    with pytest.raises(SpecError, match="nothing within 2 %"):
        search(TINY, importance, early_heads_late_neurons, ratio=0.05)
    with pytest.raises(ValueError, match="make no search"):
        search(TINY, importance, early_heads_late_neurons, ratio=1.5)


def test_the_cost_is_the_specs() -> None:
    rng = np.random.default_rng(9)
    for spec in (DEIT_SMALL, TINY):
        heads = rng.integers(1, 4, len(spec.blocks))
        neurons = rng.integers(1, 33, len(spec.blocks))
        blocks = tuple(BlockSpec(int(h), int(n)) for h, n in zip(heads, neurons, strict=True))
        small = msgspec.structs.replace(spec, blocks=blocks)
        assert Budget(spec, 0.5, 8).cost(heads, neurons) == macs(small)
        assert Budget(spec, 0.5, 8).target == int(0.5 * macs(spec))


@torch.no_grad()
def test_the_loss_on_held_out_images() -> None:
    torch.manual_seed(2)
    model = Classifier(TINY, 5).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    images = torch.randn(7, 3, 16, 16)
    held_out = HeldOut(model, images, micro_batch=3)
    whole = Policy.whole(TINY)
    assert held_out(whole) == pytest.approx(0, abs=1e-6)
    importance = random_importance(TINY)
    policy = search(TINY, importance, held_out, ratio=0.5, method="random", evaluations=5).policy
    logs = model(images, masks=policy.masks(TINY)).logits.mean(dim=1).log_softmax(dim=1)
    wanted = model(images).logits.mean(dim=1).log_softmax(dim=1)
    divergence = (wanted.exp() * (wanted - logs)).sum(dim=1).mean()
    assert held_out(policy) == pytest.approx(float(divergence), rel=1e-4)
