"""Which images and labels a part is taught with."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from devit_iot.decompose.stages.images import Decoded
from devit_iot.decompose.stages.subtask import sub_tasks, whole_task
from devit_iot.decompose.training.context import TrainingData

CLASSES = 6
GROUPS = ((0, 3), (1, 4), (2, 5))


def data(seed: int, count: int = 120) -> TrainingData:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % CLASSES)
    order = rng.permutation(count)
    nothing = Decoded(np.zeros((count, 1, 1, 3), np.uint8), torch.device("cpu"))
    names = tuple("abcdef")
    return TrainingData(names, nothing, labels, np.sort(order[:90]), np.sort(order[90:]))


@settings(deadline=None)
@given(st.integers(0, 99))
def test_without_others_the_tasks_share_out_the_images(seed: int) -> None:
    images = data(seed)
    tasks = sub_tasks(GROUPS, 0.0)
    taught = [task.taught(images) for task in tasks]
    assert sorted(np.concatenate(taught)) == images.fit.tolist()
    for task, rows in zip(tasks, taught, strict=True):
        assert task.scope == task.group
        assert set(images.labels[rows]) == set(task.group)
        places = task.labels(images)[rows]
        assert np.array_equal(np.array(task.scope)[places], images.labels[rows])
        assert np.array_equal(task.own(images, images.fit), rows)
        assert task.own_places == [0, 1]


@settings(deadline=None)
@given(st.integers(0, 99), st.sampled_from([0.1, 0.5, 1.0]))
def test_with_others_all_classes_are_taught(seed: int, others: float) -> None:
    images = data(seed)
    for task in sub_tasks(GROUPS, others):
        rows = task.taught(images)
        own = task.own(images, images.fit)
        assert set(own) <= set(rows) <= set(images.fit)
        assert len(rows) == len(own) + round(others * (len(images.fit) - len(own)))
        assert np.array_equal(rows, task.taught(images))  # the same after a resumption
        assert task.scope == tuple(range(CLASSES))
        assert np.array_equal(task.labels(images), images.labels)
        assert task.own_places == list(task.group)


def test_the_whole_task_is_everything() -> None:
    images = data(1)
    task = whole_task(CLASSES)
    assert np.array_equal(task.taught(images), images.fit)
    assert np.array_equal(task.labels(images), images.labels)
