"""The recipe of a decomposition: a TOML file, decoded into frozen structs."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from devit_iot.bundle.manifest import MAX_NAME_LENGTH, MAX_PARTS
from devit_iot.bundle.spec import SubVitSpec, View, macs
from devit_iot.bundle.storage import Storage
from devit_iot.decompose.network.views import Rectangle, views, zoom
from devit_iot.decompose.run_folder.clock import parse_duration
from devit_iot.decompose.shrinking.budget import Budget
from devit_iot.errors import ConfigError, SpecError
from devit_iot.export.fold import Normalisation
from devit_iot.keys import check_keys
from devit_iot.protocol.text import is_plain
from devit_iot.text_file import read_text

MAX_DEPTH = 1000
MAX_SEED = 10**8
"""Seeds of stages and epochs are made of it, and must fit into 64 bits."""

TEACHER_SUFFIX = "-teacher"
"""Of the name of the teacher's own bundle."""

Positive = Annotated[int, msgspec.Meta(ge=1)]
NonNegative = Annotated[int, msgspec.Meta(ge=0)]
PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]
NonNegativeFloat = Annotated[float, msgspec.Meta(ge=0)]
Probability = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seed = Annotated[int, msgspec.Meta(ge=0, lt=MAX_SEED)]
PartCount = Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)]
Magnitude = Annotated[int, msgspec.Meta(ge=0, lt=30)]
Method = Literal["joint", "dekd"]
Fraction = Annotated[float, msgspec.Meta(gt=0, le=1)]


class DataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the images are.

    Attributes:
        source: ``digits``, or the path of a data set (see ``sources.py``), relative to the recipe.
        normalisation: mean and deviation of the pixels, for every network.
        held_out: share of the training images on which choices are made: policies, temperature.
            The test images enter no choice.
        lazy: decode images when they are needed; for sets that do not fit into memory.
    """

    source: str
    normalisation: Normalisation
    held_out: Probability = 0.1
    lazy: bool = False


class AugmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Random changes of the training images; zero leaves one out.

    Attributes:
        pad_crop: edge padding before a random crop of the old size, pixels.
        resized_crop: smallest area of a random crop that is scaled up, fraction.
        flip: probability of a mirror image.
        rotate_deg: rotation in plus or minus, degrees.
        scale: relative change of size, plus or minus.
        shift: translation, fraction of the side, plus or minus.
        rand_augment: magnitude of two random operations (Cubuk et al. 2020), below 30.
        erasing: probability of a blank rectangle (Zhong et al. 2020).
        mixup: probability that a batch's images are blended in pairs (Zhang et al. 2018).
        cutmix: probability that a batch's images lend each other a rectangle (Yun et al. 2019); a
            batch undergoes mixup or cutmix, never both.
        smoothing: label smoothing (Szegedy et al. 2016).
    """

    pad_crop: NonNegative = 0
    resized_crop: Probability = 0.0
    flip: Probability = 0.0
    rotate_deg: NonNegativeFloat = 0.0
    scale: Probability = 0.0
    shift: Probability = 0.0
    rand_augment: Magnitude = 0
    erasing: Probability = 0.0
    mixup: Share = 0.0
    cutmix: Share = 0.0
    smoothing: Probability = 0.0


class StageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training stage: AdamW, linear warm-up, then cosine decay.

    Attributes:
        epochs: passes over the stage's images.
        learning_rate: the rate at its peak, for exactly this ``batch``.
        batch: images per step, over all devices together.
        warmup_epochs: number of epochs, of ``epochs``, in which the learning rate rises.
        weight_decay: decay of matrices; vectors have none.
        ema: decay per step of an average of the weights, which is what remains; 0 for none.
    """

    epochs: Positive
    learning_rate: PositiveFloat
    batch: Positive = 256
    warmup_epochs: NonNegativeFloat = 1.0
    weight_decay: NonNegativeFloat = 0.05
    ema: Probability = 0.0


class NetworkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network that knows all classes.

    Attributes:
        model: the network's shape.
        train: how it is trained or fine-tuned; left out, the checkpoint is used as it is.
        checkpoint: what it starts from, relative to the recipe; left out, from scratch.
        mix: whether it is trained on mixed images too. A few epochs of fine-tuning are too short
            for them.
    """

    model: SubVitSpec
    train: StageConfig | None = None
    checkpoint: str = ""
    mix: bool = True


class TeacherConfig(NetworkConfig, frozen=True, forbid_unknown_fields=True):
    """The large network.

    Attributes:
        part: fine-tuning on each part's classes (docs/method.md, section 1); left out, the teacher
            itself teaches every part.
        passes: changes of every image for which its answers are stored, see
            :mod:`devit_iot.decompose.training.answers`; 0 asks it anew in every step.
    """

    part: StageConfig | None = None
    passes: NonNegative = 0


class PartitionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What each part is there for.

    Attributes:
        parts: number of parts.
        by: what decides in which classes a part specialises: the seed, or similarity to the
            teacher.
        views: what a part sees, see :mod:`devit_iot.decompose.network.views`: the ``whole`` image,
            one place of a ``grid``, or rectangles ``[x, y, width, height]``, one for each part.
    """

    parts: PartCount
    by: Literal["seed", "similarity"] = "seed"
    views: Literal["whole", "grid"] | tuple[Rectangle, ...] = "whole"


class ShrinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is cut from each part's teacher.

    Attributes:
        macs: largest share of the teacher's multiply-accumulates, one for all parts or one each.
            A part whose template costs no more stays whole.
        search: how the policy is found.
        candidates: policies evaluated.
        images: number of training images that rank heads and neurons, and of held-out images that
            evaluate; at least two.
        classes: ``own``: they show classes of the part's group, as in the paper. ``all``: they show
            any class, others for each part; then a part keeps what it needs for all classes.
    """

    macs: tuple[Fraction, ...]
    search: Literal["random", "evolution"] = "evolution"
    candidates: Positive = 100
    images: Annotated[int, msgspec.Meta(ge=2)] = 256
    classes: Literal["own", "all"] = "own"


class ImitationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stage that learns from labels and from the teacher.

    Attributes:
        train: hyper-parameters.
        imitation: share of the teacher's classes against the labels.
        temperature: softens the teacher's classes; 0 takes its best one as a label, as the paper
            does.
    """

    train: StageConfig
    imitation: Probability = 0.5
    temperature: NonNegativeFloat = 0.0


class DistillConfig(ImitationConfig, frozen=True, forbid_unknown_fields=True):
    """Sub-task distillation (docs/method.md, section 3).

    Attributes:
        relations: weights of the relation losses of Q, K and V in the middle block.
        others: share of the other groups' images that each part sees too. The paper has 0: then a
            part knows its own classes only; otherwise it is taught all of them.
    """

    relations: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] = (0.2, 0.1, 0.3)
    others: Share = 0.0


class EnsembleConfig(ImitationConfig, frozen=True, forbid_unknown_fields=True):
    """Training of all parts and the fusion together (docs/method.md, section 4).

    Attributes:
        token: weight of the distance between h and the teacher's token.
        part_dropout: probability that an image loses a given part.
    """

    token: NonNegativeFloat = 1.0
    part_dropout: Probability = 0.1


class JointConfig(ImitationConfig, frozen=True, forbid_unknown_fields=True):
    """Joint decomposition: all parts learn together (docs/method.md, section 5).

    Attributes:
        individual: share of each part's own answer in the loss: lambda.
        first: share of the stage's work that goes into one part, of which all then start as copies
            (:mod:`devit_iot.decompose.stages.first`); 0: each is cut for its own group.
        own: extra weight of the classes of a part's group in its own answer's labels.
        token: weight of the distance between h and the teacher's token.
        part_dropout: probability that an image loses a given part.
    """

    individual: Share = 0.2
    first: Probability = 0.0
    own: NonNegativeFloat = 0.0
    token: NonNegativeFloat = 0.0
    part_dropout: Probability = 0.1


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that decides a decomposition.

    Attributes:
        name: the bundle's name.
        student: what the parts are cut from, where that is not the teacher itself (the paper's
            template of DeiT-Small's shape).
        seed: decides the partition, the order of the images, their augmentation, first weights.
        threads: CPU threads; part of the recipe, for sums depend on it. 0 leaves them all to torch.
        method: ``joint``, in which all parts learn together; or ``dekd``, the paper's order of
            stages, and what recipes without a ``[joint]`` mean. Each needs its own tables.
        time: time that the whole run may take, such as ``3h``: epochs then say only how the stages
            share it. Empty for a run of so many epochs.
        precision: element type of the forward passes of training; weights are always float32.
        storage: dtype of the matrices in the bundle.
    """

    name: str
    seed: Seed
    data: DataConfig
    teacher: TeacherConfig
    partition: PartitionConfig
    shrink: ShrinkConfig
    method: Method = "joint"
    joint: JointConfig | None = None
    distill: DistillConfig | None = None
    ensemble: EnsembleConfig | None = None
    student: NetworkConfig | None = None
    augment: AugmentConfig = AugmentConfig()
    threads: NonNegative = 0
    time: str = ""
    precision: Literal["fp32", "bf16"] = "fp32"
    storage: Storage = "float32"

    @property
    def zoom(self) -> float:
        """How many times larger than the teacher's input the squared images are."""
        return zoom(self.partition.views)

    def views(self) -> tuple[View, ...]:
        """What each part sees."""
        return views(self.partition.views, self.partition.parts)

    def macs_budget(self, part: int) -> float:
        """The multiply-accumulates that ``part`` may cost."""
        return self.shrink.macs[part % len(self.shrink.macs)] * macs(self.teacher.model)

    def validate(self) -> None:
        """Raise ConfigError or SpecError unless the recipe can be run."""
        self._validate_method()
        self._validate_name()
        if self.time:
            parse_duration(self.time)
        self._validate_views()
        template = self.student or self.teacher
        for name, network in (("teacher", self.teacher), ("student", template)):
            network.model.validate()
            if network.train is None and not network.checkpoint:
                raise ConfigError(f"the {name} has neither a checkpoint nor a [{name}.train]")
        models = (self.teacher.model, template.model)
        if len({(m.image_size, m.resize_size, m.resized) for m in models}) > 1:
            raise ConfigError(
                "teacher and student must have the same image_size, resize_size and resize"
            )
        compares = self.distill is not None and any(self.distill.relations)
        if compares and self.teacher.model.tokens != template.model.tokens:
            raise ConfigError(
                f"the teacher has {self.teacher.model.tokens} tokens and the student "
                f"{template.model.tokens}, but distill.relations compares them one by one; give "
                "them the same patches and prefix_tokens, or distill.relations = [0, 0, 0]"
            )
        if self.augment.mixup + self.augment.cutmix > 1:
            raise ConfigError(
                "augment.mixup and augment.cutmix are shares of the batches and exceed 1 together"
            )
        if len(self.shrink.macs) not in {1, self.partition.parts}:
            raise ConfigError(
                f"shrink.macs has {len(self.shrink.macs)} budgets for {self.partition.parts} parts;"
                " give one for all, or one for each"
            )
        for share in self.shrink.macs:
            target = share * macs(self.teacher.model)
            least = Budget(template.model, target / macs(template.model)).least
            if target < least:
                raise ConfigError(
                    f"shrink.macs: {share:.3g} of the teacher's multiply-accumulates are "
                    f"{target / 1e6:.3g} million, but a part costs at least "
                    f"{least / 1e6:.3g} million; give more, or a smaller template"
                )

    def _validate_name(self) -> None:
        if not is_plain(self.name + TEACHER_SUFFIX, MAX_NAME_LENGTH):
            raise ConfigError(
                f"name {self.name[:MAX_NAME_LENGTH]!r} is too long for a bundle, which may have "
                f"{MAX_NAME_LENGTH} characters, or has some that cannot be printed"
            )

    def _validate_method(self) -> None:
        tables = {"joint": ("joint",), "dekd": ("distill", "ensemble")}[self.method]
        for table in tables:
            if getattr(self, table) is None:
                raise ConfigError(
                    f"method '{self.method}' needs a [{table}.train]; add it, or choose another "
                    "method"
                )
        if self.joint is not None and self.joint.first and len(set(self.shrink.macs)) > 1:
            raise ConfigError("joint.first copies one part, so give shrink.macs one budget for all")

    def _validate_views(self) -> None:
        seen = self.views()
        if len(seen) != self.partition.parts:
            raise ConfigError(
                f"partition.views has {len(seen)} rectangles for {self.partition.parts} parts; "
                "give one for each, or 'grid'"
            )
        for index, view in enumerate(seen):
            for holds, problem in view.rules():
                if not holds:
                    raise ConfigError(f"partition.views of part {index}: {problem}: {view}")


def load_recipe(name: str) -> tuple[Recipe, Path]:
    """Read the shipped recipe ``name``, or the one at the path ``name``.

    Returns:
        The recipe, and the folder that its relative paths start from.

    Raises:
        ConfigError: no such recipe, an unknown key or a bad value.
    """
    shipped = Path(str(resources.files("devit_iot.decompose") / "recipes"))
    path = Path(name) if name.endswith(".toml") else shipped / f"{name}.toml"
    try:
        table = tomllib.loads(read_text(path))
        _repeat_blocks(table)
        if "joint" not in table:  # written before there was another method
            table.setdefault("method", "dekd")
        check_keys(table, Recipe, "", str(path))
        recipe = msgspec.convert(table, Recipe)
        recipe.validate()
    except OSError as error:
        names = ", ".join(sorted(file.stem for file in shipped.glob("*.toml")))
        raise ConfigError(
            f"no recipe '{name}' ({error.strerror}); give the path of a .toml file, or one of: "
            f"{names}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except (ConfigError, SpecError) as error:
        raise ConfigError(f"{path}: {error}") from error
    # A shipped recipe's data lie where its user is, not where Python keeps the package.
    return recipe, path.parent if name.endswith(".toml") else Path()


def _repeat_blocks(table: dict[str, Any]) -> None:
    """``depth = 12`` beside one block stands for twelve such blocks."""
    for name in ("teacher", "student"):
        network = table.get(name)
        model = network.get("model") if isinstance(network, dict) else None
        if isinstance(model, dict) and isinstance(model.get("blocks"), list):
            depth = model.pop("depth", 1)
            if not isinstance(depth, int) or not 1 <= depth <= MAX_DEPTH:
                raise ConfigError(f"{name}.model.depth must be 1 to {MAX_DEPTH}, got {depth}")
            model["blocks"] = model["blocks"] * depth
