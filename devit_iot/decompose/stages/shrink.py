"""Rank, search a policy within a budget, and cut: a part's student (docs/method.md, section 2)."""

from collections.abc import Sequence

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from devit_iot.bundle.spec import WHOLE, View, macs
from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.recipe import Recipe
from devit_iot.decompose.shrinking.compensate import BlockMoments, compensate, measure
from devit_iot.decompose.shrinking.heldout import HeldOut
from devit_iot.decompose.shrinking.importance import BlockImportance, rank
from devit_iot.decompose.shrinking.policy import Policy
from devit_iot.decompose.shrinking.search import search
from devit_iot.decompose.stages import seeds
from devit_iot.decompose.stages.names import FIRST_CUT, FIRST_POLICY, policy_of, shrunk
from devit_iot.decompose.stages.subtask import SubTask
from devit_iot.decompose.stages.teach import store_result
from devit_iot.decompose.training.context import Context, TrainingData
from devit_iot.decompose.training.loop import Trained

OVERLAP_DISCOUNT = 0.7
"""A head or neuron counts so much for a part, for each earlier part that keeps it already: parts
that keep other things of the teacher see other things, and are worth more together."""


def shrink_part(run: Context, task: SubTask, template: Classifier) -> Classifier:
    """Cut one part out of ``template``, or take the one that is stored.

    Heads and neurons are ranked on training images, see :func:`chosen_rows`, as the part's view
    shows them; candidates are compared on held-out ones, each with what stays made up for what
    went. In joint decomposition a part prefers what no part before it has kept.

    Raises:
        SpecError: nothing within the budget.
    """
    earlier = [policy_of(part) for part in range(task.part)]
    looking = _looking(template, run.recipe.views()[task.part])
    return _shrink(run, task, looking, (shrunk(task.part), policy_of(task.part)), earlier)


def shrink_first(run: Context, task: SubTask, template: Classifier) -> Classifier:
    """Cut the part that learns before all others, or take the one that is stored.

    Raises:
        SpecError: nothing within the budget.
    """
    return _shrink(run, task, template, (FIRST_CUT, FIRST_POLICY), [])


def _shrink(
    run: Context,
    task: SubTask,
    looking: Classifier,
    names: tuple[str, str],
    earlier: Sequence[str],
) -> Classifier:
    name, policy_name = names
    if run.lacks(run.folder, name):
        images = _images(run, run.data.fit, task)
        moments = measure(looking, images)
        policy = _policy(run, task, looking, images, moments, earlier)
        if run.accelerator.is_main_process:
            run.folder.store(policy_name, policy)
        student = compensate(looking, policy, moments)
        store_result(run, run.folder, name, student, task, Trained())
    return run.folder.load_model(name, run.device)


def _looking(template: Classifier, view: View) -> Classifier:
    """The template itself, with the eyes of a part."""
    if view == WHOLE:
        return template
    with torch.device("meta"):
        looking = Classifier(msgspec.structs.replace(template.spec, view=view), template.classes)
    looking.load_state_dict(template.state_dict(), assign=True)
    return looking.eval()


def _policy(
    run: Context,
    task: SubTask,
    template: Classifier,
    images: Tensor,
    moments: Sequence[BlockMoments],
    earlier: Sequence[str],
) -> Policy:
    """The best policy within the part's budget; nothing is cut from what fits as it is."""
    config = run.recipe.shrink
    ratio = run.recipe.macs_budget(task.part) / macs(template.spec)
    if ratio >= 1:
        return Policy.whole(template.spec)
    loss = HeldOut(template, _images(run, run.data.held_out, task), moments=moments)
    tried = 0

    def counted(policy: Policy) -> float:
        nonlocal tried
        tried += 1
        run.progress(shrunk(task.part), tried, config.candidates)
        return loss(policy)

    importance = rank(template, images)
    if run.recipe.method == "joint":
        kept = [run.folder.load(name, Policy) for name in earlier]
        importance = discounted(importance, kept)
    return search(
        template.spec,
        importance,
        counted,
        ratio=ratio,
        method=config.search,
        evaluations=config.candidates,
        seed=seeds.policies(run.recipe.seed, task.part),
    ).policy


def discounted(
    importance: Sequence[BlockImportance], earlier: Sequence[Policy]
) -> tuple[BlockImportance, ...]:
    """Importance for a part beside others, by what their policies keep already."""
    changed = [
        BlockImportance(block.heads - block.heads.min(), block.neurons.copy())
        for block in importance
    ]
    for policy in earlier:
        for block, kept in zip(changed, policy.blocks, strict=True):
            if kept is not None:
                block.heads[list(kept.heads)] *= OVERLAP_DISCOUNT
                block.neurons[list(kept.neurons)] *= OVERLAP_DISCOUNT
    return tuple(changed)


def _images(run: Context, rows: NDArray[np.int64], task: SubTask) -> Tensor:
    """The normalised images that a part is cut by."""
    chosen = chosen_rows(run.data, rows, task, run.recipe)
    batches = run.batches(chosen, run.data.labels).in_order()
    return torch.cat([images for images, _ in batches])


def chosen_rows(
    data: TrainingData, rows: NDArray[np.int64], task: SubTask, recipe: Recipe
) -> NDArray[np.int64]:
    """A fixed choice of ``rows`` for one part, ascending; of all classes it is another for each.

    Args:
        data: all images.
        rows: those to choose from.
        task: what the part is made for.
        recipe: its ``shrink`` says how many images, and of which classes.
    """
    if recipe.shrink.classes == "all":
        mine, seed = rows, seeds.policies(recipe.seed, task.part)
    else:
        mine, seed = task.own(data, rows), recipe.seed
    chosen = np.random.default_rng(seed).permutation(mine)[: recipe.shrink.images]
    return np.sort(chosen)
