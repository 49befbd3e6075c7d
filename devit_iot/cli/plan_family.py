"""The parts of a plan: those of a bundle, or of every budget that a teacher may be cut to."""

from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import BlockSpec, SubVitSpec, macs
from devit_iot.bundle.storage import Storage
from devit_iot.decompose.shrinking.budget import Budget
from devit_iot.errors import ConfigError, DevitError
from devit_iot.node.memory import file_bytes
from devit_iot.planning.plan import Family
from devit_iot.planning.prediction import Kind

UNITS = {"K": 1e3, "M": 1e6, "G": 1e9}
DEFAULT_BUDGETS = ",".join(f"{0.05 * step:.2g}" for step in range(1, 21))


class Choice(NamedTuple):
    """A family of parts to plan with.

    Attributes:
        family: where they come from.
        kinds: the parts.
        whole: whether each is needed once, being a bundle's.
        macs: multiply-accumulates of all parts together if nobody says: as many as the recipe's
            parts have, or as the teacher.
    """

    family: Family
    kinds: tuple[Kind, ...]
    whole: bool
    macs: int


class _Teacher(NamedTuple):
    """What parts are cut from.

    Attributes:
        name: for people.
        macs: multiply-accumulates, of which budgets are shares.
        template: the shape that is shrunk.
        storage: how the parts' matrices are stored.
        total: share that all parts together have by default.
        recipe: recipe that makes the parts; a stand-in where none was named.
    """

    name: str
    macs: int
    template: SubVitSpec
    storage: Storage
    total: float
    recipe: str = "RECIPE"


class _Results(msgspec.Struct):
    """What matters here of a run's results.json."""

    test_top1: float


def of_bundle(folder: Path) -> Choice:
    """The parts of a bundle, each of which is needed.

    Raises:
        BundleError: it is no bundle.
    """
    manifest = Bundle(folder).manifest
    kinds = tuple(
        Kind(f"part {index} of {folder}", part.spec, macs(part.spec), part.weights.size)
        for index, part in enumerate(manifest.parts)
    )
    family = Family(str(folder), manifest.fingerprint, accuracy=_accuracy(folder))
    return Choice(family, kinds, whole=True, macs=0)


def of_teacher(folder: Path, budgets: str) -> Choice:
    """Parts that may be cut from the network of a bundle of one part.

    Raises:
        BundleError: it is no bundle.
        ConfigError: it has several parts, or a budget is not possible.
    """
    manifest = Bundle(folder).manifest
    if len(manifest.parts) != 1:
        raise ConfigError(
            f"--teacher {folder} is a fleet of {len(manifest.parts)} parts: give it as --bundle, "
            "or a bundle of one network, as devit bundle import makes it"
        )
    (part,) = manifest.parts
    return _cut(_Teacher(str(folder), macs(part.spec), part.spec, part.dtype, 1.0), budgets)


def of_recipe(name: str, budgets: str) -> Choice:
    """Parts that a recipe of ``devit decompose`` may make.

    Raises:
        ConfigError: there is no such recipe, or a budget is not possible.
        DevitError: reading recipes needs the extra ``train``.
    """
    try:
        from devit_iot.decompose.recipe import load_recipe
    except ImportError as error:
        raise DevitError(
            f"--recipe needs '{error.name}': pip install 'devit-iot[train]', or give a bundle of "
            "the teacher as --teacher"
        ) from error
    recipe, _ = load_recipe(name)
    total = sum(recipe.macs_budget(part) for part in range(recipe.partition.parts))
    teacher = macs(recipe.teacher.model)
    template = (recipe.student or recipe.teacher).model
    return _cut(_Teacher(name, teacher, template, recipe.storage, total / teacher, name), budgets)


def share_of(text: str, teacher: int, option: str) -> float:
    """A share of the teacher's multiply-accumulates; absolute ones have a unit.

    Raises:
        ConfigError: it is neither, or not positive.
    """
    unit = UNITS.get(text[-1:])
    try:
        number = float(text if unit is None else text[:-1])
    except ValueError as error:
        raise ConfigError(f"{option}: '{text}' is no number, nor one with K, M or G") from error
    share = number if unit is None else number * unit / teacher if teacher else np.inf
    if not 0 < share < np.inf:
        raise ConfigError(f"{option}: '{text}' is not a positive number")
    return float(share)


def _cut(teacher: _Teacher, budgets: str) -> Choice:
    given = budgets or DEFAULT_BUDGETS
    shares = {share_of(text.strip(), teacher.macs, "--macs") for text in given.split(",")}
    kinds = []
    for share in sorted(shares):
        if share > 1:
            raise ConfigError(f"--macs: {share:.3g} is more than the whole teacher")
        spec = _shrunk(teacher, share)
        if spec is not None:
            size = file_bytes(spec, teacher.storage)
            kinds.append(Kind(f"a part of {share:.3g}", spec, macs(spec), size, share))
        elif budgets:
            raise ConfigError(f"--macs: no part of {teacher.name} is as small as {share:.3g} of it")
    total = round(teacher.total * teacher.macs)
    family = Family(teacher.name, teacher_macs=teacher.macs, recipe=teacher.recipe)
    return Choice(family, tuple(kinds), whole=False, macs=total)


def _shrunk(teacher: _Teacher, share: float) -> SubVitSpec | None:
    """About the shape that shrinking leaves: all blocks alike, fewer where they do not fit."""
    template = teacher.template
    if share * teacher.macs >= macs(template):
        return template
    budget = Budget(template, share * teacher.macs / macs(template))
    if budget.least > budget.target:
        return None
    depth = len(template.blocks)
    for kept in range(budget.depth, 0, -1):
        density = np.where(np.arange(depth) < kept, 1.0, 0.0)
        draft = budget.fit(density, density)
        if draft is not None:
            pairs = zip(draft.heads.tolist(), draft.neurons.tolist(), strict=True)
            blocks = tuple(BlockSpec(heads, neurons) for heads, neurons in pairs if heads)
            return msgspec.structs.replace(template, blocks=blocks)
    return None


def _accuracy(folder: Path) -> float | None:
    """Test top-1, where the run's results lie beside the bundle."""
    try:
        return msgspec.json.decode(
            (folder.parent / "results.json").read_bytes(), type=_Results
        ).test_top1
    except (OSError, msgspec.DecodeError):
        return None
