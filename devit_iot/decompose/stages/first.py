"""One part first: it learns alone, and all parts of the fleet start as copies of it.

A part that learns alone takes N times as many steps for the same work as N parts that learn
together. It looks at windows of a view's size, anywhere in the enlarged image, so its copies know
what any view shows. What each copy then learns from its own view makes the fleet better than the
part. docs/results.md says when this pays: many small parts, and little time.
"""

import msgspec

from devit_iot.bundle.spec import WHOLE
from devit_iot.decompose.network.fleet import Fleet
from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.recipe import JointConfig, StageConfig
from devit_iot.decompose.stages import seeds
from devit_iot.decompose.stages.ensemble import train_fleet
from devit_iot.decompose.stages.joint import joint_loss
from devit_iot.decompose.stages.names import FIRST
from devit_iot.decompose.stages.subtask import whole_task
from devit_iot.decompose.training.context import Context


def train_first(
    run: Context,
    part: Classifier,
    teacher: Classifier,
    config: JointConfig,
    stage: StageConfig,
) -> Fleet:
    """Train a fleet of one part, or take the one that is stored.

    Args:
        run: the run.
        part: the part as it was cut out of the teacher.
        teacher: the teacher of all classes.
        config: hyper-parameters of joint training.
        stage: those of this training.

    Raises:
        TrainingError: the training diverged.
    """
    alone = msgspec.structs.replace(config, individual=0.0, part_dropout=0.0)
    task = whole_task(teacher.classes)
    loss = joint_loss(alone, [task], teacher, run.recipe.augment.smoothing)
    return train_fleet(
        run._replace(windows=True), [part], teacher, loss, stage,
        tokens=config.token > 0, name=FIRST, number=seeds.FIRST,
    )  # fmt: skip


def copies(run: Context, first: Fleet, teacher: Classifier) -> list[Classifier]:
    """Every part of the fleet as it starts: the weights of the first one, and its own view."""
    (vit,) = first.vits
    found = []
    for view in run.recipe.views():
        seen = msgspec.UNSET if view == WHOLE else view
        part = Classifier(msgspec.structs.replace(vit.spec, view=seen), teacher.classes)
        part.vit.load_state_dict(vit.state_dict())
        found.append(part.to(run.device))
    return found
