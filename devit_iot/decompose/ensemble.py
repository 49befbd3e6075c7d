"""Joint training of all parts and the fusion on the full data (METHOD, stage 4)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from devit_iot.decompose.context import Context
from devit_iot.decompose.distill import label_and_imitation
from devit_iot.decompose.fleet import Fleet, FusionHead
from devit_iot.decompose.loop import Loss, Losses, fit
from devit_iot.decompose.losses import token_distance
from devit_iot.decompose.models import Classifier
from devit_iot.decompose.recipe import Recipe
from devit_iot.decompose.results import ModelResult
from devit_iot.decompose.teach import parameters
from devit_iot.spec import SubVitSpec, macs

ENSEMBLE = "ensemble"
LAST_STAGE = 2000
"""Seed of this stage; it follows those of all others."""


def train_ensemble(run: Context, parts: Sequence[Classifier], teacher: Classifier) -> Fleet:
    """Train the fleet, or take the one that is stored.

    Args:
        run: the run.
        parts: after their sub-task distillation; their heads are not used any more.
        teacher: of all classes.

    Raises:
        TrainingError: the training diverged.
    """
    torch.manual_seed(run.recipe.seed + LAST_STAGE)
    fleet = Fleet([part.vit for part in parts], fusion_head([p.spec for p in parts], teacher))
    if run.lacks(run.folder, ENSEMBLE):
        config = run.recipe.ensemble.train
        batches = run.batches(run.data.fit, run.data.labels, batch=config.batch, mix=True)
        stage = run.stage(ENSEMBLE, config, LAST_STAGE, run.folder)
        trained = fit(fleet, batches, ensemble_loss(run.recipe, teacher), stage, run.accelerator)
        scores = run.predict(lambda images: fleet(images).logits.mean(dim=1), run.data.held_out)
        labels = torch.from_numpy(run.data.labels[run.data.held_out])
        top1 = float((scores.argmax(dim=1) == labels).float().mean())
        if run.accelerator.is_main_process:
            cost = sum(macs(part.spec) for part in parts)
            result = ModelResult(cost, parameters(fleet), top1, trained.history, trained.seconds)
            run.folder.store(f"{ENSEMBLE}-result", result)
            run.folder.store_tensors(ENSEMBLE, fleet.state_dict())
        run.accelerator.wait_for_everyone()
    fleet.load_state_dict(run.folder.load_tensors(ENSEMBLE))
    return fleet.to(run.device).eval()


def fusion_head(specs: Sequence[SubVitSpec], teacher: Classifier) -> FusionHead:
    """A new fusion with h as wide as the teacher's token.

    Parts that were cut from the teacher live in its space: there A starts as their mean and W as
    the teacher's own head, so that training begins with a vote.
    """
    width = teacher.spec.embed_dim
    head = FusionHead(specs, width, teacher.classes)
    if all(spec.embed_dim == width for spec in specs) and len(head.classify) == len(teacher.heads):
        vote = torch.eye(width).repeat(1, len(specs)) / len(specs)
        state = head.state_dict()
        for name, value in teacher.heads.state_dict().items():
            state[f"classify.{name}"] = value
        for k in range(len(head.gather)):
            state |= {f"gather.{k}.weight": vote, f"gather.{k}.bias": torch.zeros(width)}
        head.load_state_dict(state)
    return head


def ensemble_loss(recipe: Recipe, teacher: Classifier) -> Loss:
    """METHOD's stage 4: MSE(h, teacher token), labels, and the teacher's classes."""
    config = recipe.ensemble

    def loss(model: nn.Module, images: Tensor, labels: Tensor) -> Losses:
        with torch.no_grad():
            taught = teacher(images)
        output = model(images, config.part_dropout)
        smoothing = recipe.augment.smoothing
        terms = label_and_imitation(output.logits, labels, taught.logits, config, smoothing)
        if config.token:
            terms["token"] = config.token * token_distance(output.hidden, taught.tokens)
        return terms

    return loss
