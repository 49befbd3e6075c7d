"""Rank, search a policy within a budget, and cut: a part's student (METHOD, stage 2)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from devit_iot.decompose.compensate import BlockMoments, compensate, measure
from devit_iot.decompose.context import Context
from devit_iot.decompose.heldout import HeldOut
from devit_iot.decompose.importance import rank
from devit_iot.decompose.loop import Trained
from devit_iot.decompose.models import Classifier
from devit_iot.decompose.policy import Policy
from devit_iot.decompose.search import search
from devit_iot.decompose.subtask import SubTask
from devit_iot.decompose.teach import store_result
from devit_iot.spec import macs


def shrink_part(run: Context, task: SubTask, template: Classifier) -> Classifier:
    """Cut one part out of ``template``, or take the one that is stored.

    Heads and neurons are ranked on training images of the part's classes, candidates compared on
    held-out ones, each with what stays made up for what went.

    Raises:
        SpecError: nothing within the budget.
    """
    name = f"shrunk-{task.part}"
    if run.lacks(run.folder, name):
        images = _images(run, run.data.fit, task)
        moments = measure(template, images)
        policy = _policy(run, task, template, images, moments)
        if run.accelerator.is_main_process:
            run.folder.store(f"policy-{task.part}", policy)
        student = compensate(template, policy, moments)
        store_result(run, run.folder, name, student, task, Trained())
    return run.folder.load_model(name, run.device)


def _policy(
    run: Context,
    task: SubTask,
    template: Classifier,
    images: Tensor,
    moments: Sequence[BlockMoments],
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
        run.progress(f"shrunk-{task.part}", tried, config.candidates)
        return loss(policy)

    return search(
        template.spec,
        rank(template, images),
        counted,
        ratio=ratio,
        method=config.search,
        evaluations=config.candidates,
        seed=run.recipe.seed + task.part,
    ).policy


def _images(run: Context, rows: NDArray[np.int64], task: SubTask) -> Tensor:
    """A fixed choice of normalised images of the group's classes."""
    mine = task.own(run.data, rows)
    chosen = np.random.default_rng(run.recipe.seed).permutation(mine)[: run.recipe.shrink.images]
    batches = run.batches(np.sort(chosen), run.data.labels).in_order()
    return torch.cat([images for images, _ in batches])
