"""A trained fleet -> its bundle, the teacher's bundle, and everything that was measured."""

from collections.abc import Mapping

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.writing import write_bundle
from devit_iot.decompose.network.models import SubVit, class_scores
from devit_iot.decompose.network.views import crop_view
from devit_iot.decompose.recipe import TEACHER_SUFFIX
from devit_iot.decompose.run import TrainedFleet
from devit_iot.decompose.run_folder.folder import RunFolder
from devit_iot.decompose.run_folder.results import RESULTS, ModelResult, PartResult, Results
from devit_iot.decompose.stages.calibrate import fit_temperature
from devit_iot.decompose.stages.export import (
    Exported,
    Folding,
    export_classifier,
    export_fleet,
    published,
)
from devit_iot.decompose.stages.first_share import first_stage
from devit_iot.decompose.stages.names import (
    BUNDLE,
    ENSEMBLE,
    FIRST,
    FIRST_CUT,
    TEACHER,
    TEMPLATE,
    distilled,
    part_teacher,
    result_of,
    shrunk,
)
from devit_iot.decompose.stages.partition import Groups
from devit_iot.decompose.stages.plan import MEAN_IMAGES
from devit_iot.decompose.training.answers import answers_result
from devit_iot.decompose.training.context import Context, TrainingData
from devit_iot.evaluation.lost_parts import Fused, calibration_error
from devit_iot.protocol.feature import feature_bytes


def finish(
    run: Context, trained: TrainedFleet, test: TrainingData, provenance: Mapping[str, str]
) -> Results:
    """Fold, calibrate, measure; write ``results.json`` and the bundles of fleet and teacher.

    The temperature is fitted on held-out images; the test images are only measured.
    """
    rows = np.random.default_rng(run.recipe.seed).permutation(run.data.fit)[:MEAN_IMAGES]
    held_out = torch.from_numpy(run.data.labels[run.data.held_out])
    scores = run.predict(lambda x: class_scores(trained.fleet(x).logits), run.data.held_out)
    folding = Folding(
        run.recipe.data.normalisation,
        _golden(run),
        run.recipe.storage,
        fit_temperature(scores, held_out),
    )
    means = [_tokens(run, part, rows).mean(dim=0) for part in trained.parts]
    exported = export_fleet(trained.parts, trained.fleet.head, trained.groups, means, folding)
    bundle = _write(run, run.folder, exported, run.recipe.name, provenance)
    _teacher_bundle(run, trained, rows, folding, provenance)
    results = _measure(run, trained, test, exported, folding.temperature, bundle)
    run.folder.store(RESULTS, results)
    return results


def _measure(
    run: Context,
    trained: TrainedFleet,
    test: TrainingData,
    exported: Exported,
    temperature: float,
    bundle: Bundle,
) -> Results:
    images = run._replace(data=test)
    features = [published(_tokens(images, part, test.fit), part) for part in trained.parts]
    fused = Fused(features, exported.fusion, test.labels)
    teacher = images.predict(lambda x: class_scores(trained.teacher(x).logits), test.fit)
    labels = torch.from_numpy(test.labels)
    logits = torch.from_numpy(fused.logits)
    best = logits.argmax(dim=1)
    load = run.folder.load
    cut = shrunk if first_stage(run.recipe) is None else lambda _: FIRST_CUT
    return Results(
        name=run.recipe.name,
        classes=run.data.classes,
        test_images=len(test.labels),
        teacher=run.shared.load(result_of(TEACHER), ModelResult),
        teacher_spec=trained.teacher.spec,
        teacher_test_top1=float((teacher.argmax(dim=1) == labels).double().mean()),
        parts=tuple(
            PartResult(
                group,
                trained.parts[index].spec,
                load(result_of(cut(index)), ModelResult),
                fused.top1([other for other in range(len(trained.parts)) if other != index]),
                fused.top1([index]),
                _maybe(run.folder, result_of(part_teacher(index))),
                _maybe(run.folder, result_of(distilled(index))),
            )
            for index, group in enumerate(trained.groups)
        ),
        fleet=load(result_of(ENSEMBLE), ModelResult),
        test_top1=fused.top1([]),
        test_top5=_top5(logits, labels),
        lost=tuple(fused.lose(count) for count in fused.counts()),
        confusion=_confusion(trained.groups, best, labels),
        temperature=temperature,
        calibration_error=(
            _calibration_error(logits * temperature, labels),
            _calibration_error(logits, labels),
        ),
        bundle_bytes=sum(file.stat().st_size for file in bundle.path.iterdir()),
        feature_bytes=tuple(feature_bytes(part.spec.feature_dim) for part in trained.parts),
        template=(
            None
            if run.recipe.student is None
            else run.shared.load(result_of(TEMPLATE), ModelResult)
        ),
        method=run.recipe.method,
        answers=answers_result(run.shared),
        first=_maybe(run.folder, result_of(FIRST)),
    )


def _maybe(folder: RunFolder, name: str) -> ModelResult | None:
    return folder.load(name, ModelResult) if folder.has(name) else None


def _tokens(run: Context, part: SubVit, rows: NDArray[np.int64]) -> Tensor:
    return run.predict(lambda images: part(images).tokens, rows)


def _golden(run: Context) -> NDArray[np.uint8]:
    """A training image, as a device would see the whole of it."""
    pixels = run.data.pixels.take(run.data.fit[:1])[0].cpu()
    low = (len(pixels) - run.side) // 2
    square = pixels[low : low + run.side, low : low + run.side].permute(2, 0, 1)[None]
    whole = msgspec.structs.replace(run.recipe.teacher.model, view=msgspec.UNSET)
    seen = crop_view(square.float(), whole).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(seen[0].permute(1, 2, 0).numpy())


def _teacher_bundle(
    run: Context,
    trained: TrainedFleet,
    rows: NDArray[np.int64],
    folding: Folding,
    provenance: Mapping[str, str],
) -> None:
    """The teacher as a fleet of one, to measure and compare."""
    if (run.shared.path / BUNDLE).exists():
        return
    mean = _tokens(run, trained.teacher.vit, rows).mean(dim=0)
    exported = export_classifier(trained.teacher, mean, folding._replace(temperature=1.0))
    _write(run, run.shared, exported, run.recipe.name + TEACHER_SUFFIX, provenance)


def _write(
    run: Context, folder: RunFolder, exported: Exported, name: str, provenance: Mapping[str, str]
) -> Bundle:
    path = folder.path / BUNDLE
    if path.exists():  # an earlier finish made it; the same weights give the same bytes
        return Bundle(path)
    return write_bundle(
        path,
        name=name,
        classes=run.data.classes,
        parts=exported.parts,
        fusion=exported.fusion,
        provenance=provenance,
    )


def _top5(logits: Tensor, labels: Tensor) -> float:
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices
    return float((best == labels[:, None]).any(dim=1).double().mean())


def _confusion(groups: Groups, best: Tensor, labels: Tensor) -> tuple[tuple[float, ...], ...]:
    """Row: group of the true class, column: group of the given class; rows sum to one."""
    part_of = torch.empty(sum(map(len, groups)), dtype=torch.int64)
    for part, group in enumerate(groups):
        part_of[list(group)] = part
    counts = torch.zeros(len(groups), len(groups), dtype=torch.float64)
    counts.index_put_(
        (part_of[labels], part_of[best]), torch.ones(1, dtype=torch.float64), accumulate=True
    )
    images = counts.sum(dim=1, keepdim=True).clamp(min=1)  # a group may have no test image
    shares: list[list[float]] = (counts / images).tolist()
    return tuple(tuple(row) for row in shares)


def _calibration_error(logits: Tensor, labels: Tensor) -> float:
    confidence, best = logits.double().softmax(dim=1).max(dim=1)
    return calibration_error(confidence.numpy(), (best == labels).numpy())
