"""What a run measured: the content of results.json, from which the report is made."""

from pathlib import Path

import msgspec

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.decompose.run_folder.folder import RunFolder
from devit_iot.evaluation.lost_parts import LostParts

RESULTS = "results"
"""The name of the file in a run folder."""

History = tuple[dict[str, float], ...]
"""Mean losses of each epoch, by name; "loss" is their sum."""


class Milestone(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a training had reached when it had become twice as long: held-out top-1, fraction."""

    epochs: int
    seconds: float
    held_out_top1: float


class ModelResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One network after its training.

    Attributes:
        macs: multiply-accumulates of one image.
        parameters: number of the network's parameters, its heads included.
        held_out_top1: accuracy on held-out training images of its classes, fraction.
        history: losses of its training, epoch by epoch; empty if there was none.
        seconds: time that the training took.
        milestones: accuracies that it had reached on the way.
    """

    macs: int
    parameters: int
    held_out_top1: float
    history: History = ()
    seconds: float = 0.0
    milestones: tuple[Milestone, ...] = ()


class AnswersResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stored answers of the teacher: files, bytes, and the seconds that asking took."""

    passes: int
    size: int
    seconds: float


class PartResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One part, from its teacher to its student.

    Attributes:
        classes: classes of its group.
        spec: the shape that shrinking left.
        shrunk: the student right after the cut, before it learned again.
        alone: test top-1 of a fleet that lost all other parts.
        without: test top-1 of a fleet that lost this part.
        teacher: the part teacher on the group's classes; only with method ``dekd``.
        distilled: the student after its distillation; only with method ``dekd``.
    """

    classes: tuple[int, ...]
    spec: SubVitSpec
    shrunk: ModelResult
    alone: float
    without: float
    teacher: ModelResult | None = None
    distilled: ModelResult | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return self.shrunk.macs


class Results(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole run. All accuracies are fractions; "test" images entered no choice.

    Attributes:
        name: the recipe's name.
        classes: names, by label.
        test_images: number of test images.
        teacher: the teacher on all classes.
        teacher_spec: the teacher's shape.
        teacher_test_top1: accuracy of the teacher.
        parts: one entry each.
        fleet: the joint training; its MACs are those of all parts together.
        test_top1: top-1 of the whole fleet.
        test_top5: top-5 of the whole fleet.
        lost: accuracies for every number of lost parts, none first.
        confusion: share of the test images of row's group that were given a class of column's.
        temperature: fitted on held-out images.
        calibration_error: error of the test images' confidence, with temperature 1 and as
            published.
        bundle_bytes: size of the bundle's files.
        feature_bytes: bytes on the wire per part and image: header and float16 values.
        template: what the parts were cut from, where that was not the teacher.
        method: how the parts learned.
        answers: what asking the teacher once cost; None if it was asked in every step.
        first: the part that learned before all others; None if all learned together from the
            beginning.
    """

    name: str
    classes: tuple[str, ...]
    test_images: int
    teacher: ModelResult
    teacher_spec: SubVitSpec
    teacher_test_top1: float
    parts: tuple[PartResult, ...]
    fleet: ModelResult
    test_top1: float
    test_top5: float
    lost: tuple[LostParts, ...]
    confusion: tuple[tuple[float, ...], ...]
    temperature: float
    calibration_error: tuple[float, float]
    bundle_bytes: int
    feature_bytes: tuple[int, ...]
    template: ModelResult | None = None
    method: str = "joint"
    answers: AnswersResult | None = None
    first: ModelResult | None = None


def fleets_of(run: Path) -> list[Results]:
    """The results of all fleets in the run folder ``run``, by their number of parts.

    Raises:
        DataError: results of another version, or damaged ones.
    """
    folders = [RunFolder(path.parent) for path in run.glob(f"parts-*/{RESULTS}.json")]
    found = [folder.load(RESULTS, Results) for folder in folders]
    return sorted(found, key=lambda results: len(results.parts))
