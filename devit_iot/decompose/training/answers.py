"""The teacher asked once (docs/method.md, section 7): its answers to fixed changes, stored.

A teacher that answers the very images that a student sees need not be asked in every epoch, stage
and run (Shen and Xing 2022, "A fast knowledge distillation framework for visual recognition").
Pass k over the images is one shuffling and one change of each of them, both by a seed: they are
made anew in every epoch that uses the pass, what the teacher said of them is read from a file.
"""

import hashlib
import time
from collections.abc import Iterator

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from devit_iot.decompose.network.models import Classifier, class_scores
from devit_iot.decompose.recipe import StageConfig
from devit_iot.decompose.run_folder.folder import RunFolder
from devit_iot.decompose.run_folder.results import AnswersResult
from devit_iot.decompose.training.batches import Answers, Batch, Batches, Epochs
from devit_iot.decompose.training.context import Context
from devit_iot.errors import DataError

FOLDER = "answers"
_SEED = 5051


def ask(teacher: Classifier, batch: Batch, *, tokens: bool = False) -> Answers:
    """What ``teacher`` says of a batch: what is stored, or else what it answers now."""
    if batch.answers is not None:
        return batch.answers
    with torch.no_grad():
        output = teacher(batch.images)
    return Answers(class_scores(output.logits), output.tokens if tokens else None)


def taught_batches(
    run: Context,
    teacher: Classifier,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    config: StageConfig,
    *,
    tokens: bool = False,
) -> Epochs:
    """The batches of a stage that learns from ``teacher``.

    Args:
        run: the run; ``teacher.passes`` of its recipe says how many passes are stored. With none,
            batches come without answers, and the stage asks the teacher itself.
        teacher: the teacher of all classes.
        rows: the images of the stage.
        labels: labels of all images.
        config: gives the size of a batch.
        tokens: whether the stage also learns the teacher's tokens.
    """
    batches = run.batches(rows, labels, batch=config.batch, mix=True)
    if not run.recipe.teacher.passes:
        return batches
    return _Taught(run, teacher, rows, batches, config.batch, tokens=tokens)


def answers_result(folder: RunFolder) -> AnswersResult | None:
    """What the stored answers of a run folder cost; None if there are none."""
    files = sorted((folder.path / FOLDER).glob("*.safetensors"))
    seconds = [float(folder.sub(FOLDER).metadata(file.stem)["seconds"]) for file in files]
    if not files:
        return None
    return AnswersResult(len(files), sum(file.stat().st_size for file in files), sum(seconds))


class _Taught:
    """Batches whose answers are read, or asked for once and stored."""

    def __init__(
        self,
        run: Context,
        teacher: Classifier,
        rows: NDArray[np.int64],
        batches: Batches,
        batch: int,
        *,
        tokens: bool,
    ) -> None:
        self._run = run
        self._teacher = teacher
        self._batches = batches
        self._folder = run.shared.sub(FOLDER)
        self._tokens = tokens
        self._sizes = batches.sizes
        rank, world = run.accelerator.process_index, run.accelerator.num_processes
        chosen = hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
        # What may well differ from stage to stage is in the name, what must not in the file.
        side = run.side
        kind = "tokens" if tokens else "logits"
        self._suffix = f"{chosen[:8]}-batch{batch}-side{side}-{kind}-{rank}of{world}"
        self._made_for = {
            "teacher": _digest(teacher),
            "images": run.data.fingerprint,
            "seed": str(run.recipe.seed),
            "augment": msgspec.json.encode(run.recipe.augment).decode(),
        }

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, index: int, seed: int) -> Iterator[Batch]:
        """See :class:`devit_iot.decompose.training.batches.Epochs`; passes take turns."""
        which = index % self._run.recipe.teacher.passes
        stored = self._answers(which)
        ends = np.cumsum(self._sizes)
        order: list[int] = np.random.default_rng(seed).permutation(len(self)).tolist()
        batches = self._batches.fixed(self._seed(which), order)
        for place, batch in zip(order, batches, strict=True):
            mine = slice(int(ends[place]) - self._sizes[place], int(ends[place]))
            answers = {name: value[mine].to(self._run.device) for name, value in stored.items()}
            yield batch._replace(answers=Answers(answers["logits"], answers.get("tokens")))

    def _seed(self, which: int) -> int:
        return (self._run.recipe.seed * 1009 + which) * 10_007 + _SEED

    def _answers(self, which: int) -> dict[str, Tensor]:
        """The stored answers of a pass, float16, in the order of its batches.

        Raises:
            DataError: they were made by another teacher, of other images, or are damaged.
        """
        name = f"pass{which}-{self._suffix}"
        if not self._folder.has(name):
            self._ask(which, name)
        metadata = self._folder.metadata(name)
        for key, value in self._made_for.items():
            if metadata.get(key) != value:
                raise DataError(
                    f"the teacher's answers in {self._folder.path} are of another {key}; remove "
                    "that folder, and they are made again"
                )
        return self._folder.load_tensors(name)

    def _ask(self, which: int, name: str) -> None:
        started = time.monotonic()
        found: dict[str, list[Tensor]] = {}
        batches = self._batches.fixed(self._seed(which), range(len(self)))
        for done, batch in enumerate(batches, start=1):
            with self._run.accelerator.autocast():
                answers = ask(self._teacher, batch, tokens=self._tokens)
            for key, value in answers._asdict().items():
                if value is not None:
                    found.setdefault(key, []).append(value.half().cpu())
            self._run.progress(f"answers {which + 1}", done, len(self))
        stored = {key: torch.cat(values) for key, values in found.items()}
        seconds = f"{time.monotonic() - started:.1f}"
        self._folder.store_tensors(name, stored, {**self._made_for, "seconds": seconds})


def _digest(teacher: Classifier) -> str:
    """Hex SHA-256 of the teacher's weights."""
    found = hashlib.sha256()
    for name, value in sorted(teacher.state_dict().items()):
        found.update(name.encode())
        found.update(value.contiguous().cpu().numpy().tobytes())
    return found.hexdigest()
