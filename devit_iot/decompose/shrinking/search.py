"""The search for the policy that costs least accuracy within a budget of multiply-accumulates."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.decompose.shrinking.budget import MULTIPLE, Budget, Draft
from devit_iot.decompose.shrinking.importance import BlockImportance
from devit_iot.decompose.shrinking.policy import BlockPolicy, Policy
from devit_iot.errors import SpecError

Method = Literal["evolution", "random"]
METHODS: tuple[Method, ...] = get_args(Method)
Drafts = Iterator[Draft | None]
Trial = tuple[float, Draft]

SPARSITY = 0.5
"""Random sparsities are drawn from U(0, 0.5), as in the paper (docs/method.md, section 2)."""
START = 0.2
"""Share of the evaluations that evolution spends on random candidates."""
STRIDES = (1, 2, 3, 4)
"""Evolution begins with every block, every second, third and fourth one; the first is always kept,
since it is the one that a network can do without least."""
PARENTS = 5
"""Evolution mutates one of so many best candidates at a time (truncation selection)."""
PATIENCE = 100
"""Drafts in a row that fit no budget or repeat an earlier one before the search gives up."""

# One mutation. The values are our own choice, not the paper's; benchmarks/policy_search.py measures
# the search that they make against a random one.
BLOCK_CHANGES = 0.15
"""Probability that a mutation drops one block, or takes a dropped one back."""
LAYERS = 3
"""A mutation changes the counts of 1 to so many blocks."""
HEADS_CHANGE = 0.4
"""Probability that a block that is changed gets one head more or one less."""
NEURONS_SPREAD = 0.4
"""Standard deviation of the logarithm of the factor that changes a block's neurons: two of three
factors are between 0.67 and 1.49. Evolution strategies mutate positive numbers so (Beyer & Schwefel
2002)."""

BISECTIONS = 50
"""Steps that find the bar which importance must pass: to 2^-50 of the largest importance."""
LEAST_DENSITY = 1e-3
"""A layer of which nothing passes the bar keeps its smallest possible count."""
LEAST_SUM = 1e-300
"""Keeps a division defined for a layer whose units are all alike, and worth nothing."""


class Found(NamedTuple):
    """The best policy, its loss, and the losses of all candidates in the order of evaluation."""

    policy: Policy
    loss: float
    history: tuple[float, ...]


def search(
    spec: SubVitSpec,
    importance: Sequence[BlockImportance],
    loss: Callable[[Policy], float],
    *,
    ratio: float,
    method: Method = "evolution",
    evaluations: int = 100,
    seed: int = 0,
    multiple: int = MULTIPLE,
) -> Found:
    """Find how many heads and neurons each block keeps; which ones, ``importance`` says.

    Every candidate costs at most ``ratio`` times the multiply-accumulates of ``spec``
    (``spec.macs``), and less than that by 2 % or one group of neurons at most. It keeps at least
    one head and ``multiple`` neurons per kept block.

    ``random`` draws the sparsities of all layers from U(0, 0.5) and brings the densities to the
    budget by one common factor (docs/method.md, section 2); blocks that a small budget has no room
    for are dropped at random. ``evolution`` begins with equal densities in all blocks and in every
    second, third and fourth one, with the neurons and heads of the highest share of their layer's
    importance per multiply-accumulate, and with random candidates; then it mutates one of the five
    best at a time: it moves compute between layers, or drops a block or takes it back.

    Args:
        spec: the shape of the network to shrink.
        importance: scores of the network's blocks, from
            :func:`devit_iot.decompose.shrinking.importance.rank`.
        loss: gives the loss of a candidate, the lower the better; called ``evaluations`` times at
            most.
        ratio: share of the multiply-accumulates to keep, above 0 and below 1.
        method: ``random`` or ``evolution``.
        evaluations: candidates to try.
        seed: same seed, same candidates for the same losses.
        multiple: neurons stay in groups of this size.

    Raises:
        SpecError: no candidate fits the budget.
        ValueError: ``ratio`` or ``evaluations`` is out of range.
    """
    if not 0 < ratio < 1 or evaluations < 1:
        raise ValueError(f"a ratio of {ratio} and {evaluations} evaluations make no search")
    budget = Budget(spec, ratio, multiple)
    rng = np.random.default_rng(seed)
    trials: list[Trial] = []
    drafts = (
        _random(budget, rng)
        if method == "random"
        else _evolution(budget, rng, importance, trials, round(START * evaluations))
    )
    tried: dict[Policy, float] = {}
    misses = 0
    while len(tried) < evaluations and misses < PATIENCE:
        draft = next(drafts)
        policy = draft and _policy(draft, importance)
        if draft is None or policy is None or policy in tried:
            misses += 1
            continue
        misses = 0
        tried[policy] = loss(policy)
        trials.append((tried[policy], draft))
    if not tried:
        raise SpecError(f"nothing within 2 % below {ratio:.0%} of the multiply-accumulates: {spec}")
    best = min(tried, key=lambda policy: tried[policy])
    return Found(best, tried[best], tuple(tried.values()))


def _random(budget: Budget, rng: np.random.Generator) -> Drafts:
    depth = len(budget.spec.blocks)
    while True:
        heads, neurons = 1 - rng.uniform(0, SPARSITY, (2, depth))
        heads[rng.permutation(depth)[budget.depth :]] = 0
        yield budget.fit(heads, neurons)


def _evolution(
    budget: Budget,
    rng: np.random.Generator,
    importance: Sequence[BlockImportance],
    trials: list[Trial],
    start: int,
) -> Drafts:
    depth = len(budget.spec.blocks)
    for step in (1,) if budget.spec.residual_norm else STRIDES:
        kept = (np.arange(depth) % step == 0).astype(np.float64)
        if kept.sum() <= budget.depth:
            yield budget.fit(kept, np.ones(depth))
    if budget.depth == depth:
        yield budget.fit(*_shares(budget, importance))
    drafts = _random(budget, rng)
    for _ in range(start):
        yield next(drafts)
    while True:
        best = sorted(trials, key=lambda trial: trial[0])[:PARENTS]
        # The best parent is drawn most often: ranks 0, 1, ... weigh 1, 1/2, ...
        weights = 1 / np.arange(1, len(best) + 1)
        if not best:
            yield next(drafts)
            continue
        chosen = int(rng.choice(len(best), p=weights / weights.sum()))
        yield _mutate(best[chosen][1], budget, rng)


def _mutate(parent: Draft, budget: Budget, rng: np.random.Generator) -> Draft | None:
    heads, neurons = parent.heads.copy(), parent.neurons.copy()
    whole = np.array([[block.heads, block.mlp_dim] for block in budget.spec.blocks])
    layers = rng.permutation(len(heads))
    if not budget.spec.residual_norm and rng.random() < BLOCK_CHANGES:
        gone = heads[layers[0]] == 0
        heads[layers[0]], neurons[layers[0]] = whole[layers[0]] if gone else (0, 0)
    for layer in layers[1 : 1 + rng.integers(1, LAYERS + 1)]:
        if heads[layer] == 0:
            continue
        if rng.random() < HEADS_CHANGE:
            heads[layer] = np.clip(heads[layer] + rng.choice((-1, 1)), 1, whole[layer, 0])
        factor = np.exp(rng.normal(0, NEURONS_SPREAD))
        neurons[layer] = np.clip(neurons[layer] * factor, 1, whole[layer, 1])
    return budget.refit(heads, neurons)


def _shares(
    budget: Budget, importance: Sequence[BlockImportance]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Densities if units go by their share of their layer's importance per multiply-accumulate."""
    worth = [
        (_share(block.heads) / budget.head_cost, _share(block.neurons) / budget.neuron_cost)
        for block in importance
    ]
    low, high = 0.0, max(float(max(h.max(), n.max())) for h, n in worth)
    for _ in range(BISECTIONS):
        bar = (low + high) / 2
        heads = [float((h > bar).mean()) for h, _ in worth]
        neurons = [float((n > bar).mean()) for _, n in worth]
        if budget.cost(*budget.whole(np.array(heads), np.array(neurons))) > budget.target:
            low = bar
        else:
            high = bar
    return np.maximum(heads, LEAST_DENSITY), np.maximum(neurons, LEAST_DENSITY)


def _share(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    positive = scores - min(0.0, float(scores.min()))
    return np.asarray(positive / max(float(positive.sum()), LEAST_SUM), np.float64)


def _policy(draft: Draft, importance: Sequence[BlockImportance]) -> Policy:
    return Policy(
        tuple(
            BlockPolicy(_best(block.heads, int(heads)), _best(block.neurons, int(neurons)))
            if heads
            else None
            for block, heads, neurons in zip(importance, draft.heads, draft.neurons, strict=True)
        )
    )


def _best(scores: NDArray[np.float64], count: int) -> tuple[int, ...]:
    order = np.argsort(-scores, kind="stable")[:count]
    return tuple(sorted(order.tolist()))
