"""Which images a part is cut by."""

from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from devit_iot.decompose.recipe import ShrinkConfig
from devit_iot.decompose.stages.shrink import chosen_rows
from devit_iot.decompose.stages.subtask import sub_tasks
from devit_iot.decompose.training.context import TrainingData
from tests.support.contexts import context, recipe

TASKS = sub_tasks(((0, 3), (1, 4, 2)), 1.0)


def chosen(data: TrainingData, shrink: ShrinkConfig) -> list[NDArray[np.int64]]:
    made = recipe(shrink=shrink)
    twice = [[chosen_rows(data, data.fit, task, made) for task in TASKS] for _ in range(2)]
    for one, again in zip(*twice, strict=True):
        assert np.array_equal(one, again)  # the same after a resumption
    return twice[0]


def test_a_part_is_cut_by_images_of_its_own_classes(tmp_path: Path) -> None:
    data = context(tmp_path).data
    shrink = recipe().shrink
    assert shrink.classes == "own"
    for task, rows in zip(TASKS, chosen(data, replace(shrink, images=1000)), strict=True):
        assert np.array_equal(rows, task.own(data, data.fit))
    assert [len(rows) for rows in chosen(data, replace(shrink, images=4))] == [4, 4]


def test_of_all_classes_each_part_has_other_images(tmp_path: Path) -> None:
    data = context(tmp_path).data
    shrink = replace(recipe().shrink, classes="all", images=16)
    first, second = chosen(data, shrink)
    assert len(first) == len(second) == 16
    assert set(first) | set(second) <= set(data.fit)
    assert set(first) != set(second)
    assert all(len(set(data.labels[rows])) > len(TASKS[1].group) for rows in (first, second))
    whole = chosen(data, replace(shrink, images=1000))
    assert all(np.array_equal(rows, data.fit) for rows in whole)
