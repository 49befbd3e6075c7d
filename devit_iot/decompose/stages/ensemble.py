"""Joint training of all parts and the fusion on the full data (docs/method.md, section 4)."""

from collections.abc import Sequence

import torch
from torch import nn

from devit_iot.bundle.spec import SubVitSpec, macs
from devit_iot.decompose.network.fleet import Fleet, FusionHead
from devit_iot.decompose.network.losses import token_distance
from devit_iot.decompose.network.models import Classifier, class_scores
from devit_iot.decompose.recipe import EnsembleConfig, StageConfig
from devit_iot.decompose.run_folder.results import Milestone, ModelResult
from devit_iot.decompose.stages import seeds
from devit_iot.decompose.stages.distill import label_and_imitation
from devit_iot.decompose.stages.names import ENSEMBLE, result_of
from devit_iot.decompose.stages.plan import begin
from devit_iot.decompose.stages.teach import parameters
from devit_iot.decompose.training.answers import ask, taught_batches
from devit_iot.decompose.training.batches import Batch
from devit_iot.decompose.training.context import Context
from devit_iot.decompose.training.loop import Loss, Losses, fit


def train_ensemble(
    run: Context, parts: Sequence[Classifier], teacher: Classifier, config: EnsembleConfig
) -> Fleet:
    """Train the fleet, or take the one that is stored.

    Args:
        run: the run.
        parts: parts after their sub-task distillation; their heads are not used any more.
        teacher: the teacher of all classes.
        config: hyper-parameters of the stage.

    Raises:
        TrainingError: the training diverged.
    """
    loss = ensemble_loss(config, teacher, run.recipe.augment.smoothing)
    return train_fleet(run, parts, teacher, loss, config.train, tokens=config.token > 0)


def train_fleet(
    run: Context,
    parts: Sequence[Classifier],
    teacher: Classifier,
    loss: Loss,
    config: StageConfig,
    *,
    tokens: bool,
    name: str = ENSEMBLE,
    number: int = seeds.ENSEMBLE,
) -> Fleet:
    """Train all parts and the fusion together, or take the fleet that is stored.

    Args:
        run: the run.
        parts: parts before this training; their heads are not used any more.
        teacher: the teacher of all classes.
        loss: gives the loss to minimise.
        config: hyper-parameters of the training.
        tokens: whether ``loss`` needs the teacher's tokens.
        name: name under which the fleet is stored.
        number: the training's number (:mod:`devit_iot.decompose.stages.seeds`).

    Raises:
        TrainingError: the training diverged.
    """
    torch.manual_seed(seeds.first_weights(run.recipe.seed, number))
    fleet = Fleet([part.vit for part in parts], fusion_head([p.spec for p in parts], teacher))
    if run.lacks(run.folder, name):
        data = run.data
        stage = begin(run, name, config, number, run.folder)
        batches = taught_batches(run, teacher, data.fit, data.labels, config, tokens=tokens)
        stage = stage._replace(measure=lambda: held_out_top1(run, fleet))
        trained = fit(fleet, batches, loss, stage, run.accelerator)
        top1 = held_out_top1(run, fleet)
        if run.accelerator.is_main_process:
            cost = sum(macs(part.spec) for part in fleet.vits)
            result = ModelResult(
                cost,
                parameters(fleet),
                top1,
                trained.history,
                trained.seconds,
                tuple(Milestone(*found) for found in trained.milestones),
            )
            run.folder.store(result_of(name), result)
            run.folder.store_tensors(name, fleet.state_dict())
        run.accelerator.wait_for_everyone()
    fleet.load_state_dict(run.folder.load_tensors(name))
    return fleet.to(run.device).eval()


def held_out_top1(run: Context, fleet: Fleet) -> float:
    """Share of the held-out images whose class the whole fleet tells."""
    scores = run.predict(lambda images: class_scores(fleet(images).logits), run.data.held_out)
    labels = torch.from_numpy(run.data.labels[run.data.held_out])
    return float((scores.argmax(dim=1) == labels).float().mean())


def fusion_head(specs: Sequence[SubVitSpec], teacher: Classifier) -> FusionHead:
    """A new fusion with h as wide as the teacher's token.

    Parts that were cut from the teacher live in its space: A starts as their mean and W as the
    teacher's own head, so that training begins with a vote.
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


def ensemble_loss(config: EnsembleConfig, teacher: Classifier, smoothing: float) -> Loss:
    """MSE(h, teacher token), labels, and the teacher's classes (docs/method.md, eq. 11)."""

    def loss(model: nn.Module, batch: Batch) -> Losses:
        answers = ask(teacher, batch, tokens=config.token > 0)
        output = model(batch.images, config.part_dropout)
        terms = label_and_imitation(output.logits, batch.labels, answers.logits, config, smoothing)
        if answers.tokens is not None:
            terms["token"] = config.token * token_distance(output.hidden, answers.tokens)
        return terms

    return loss
