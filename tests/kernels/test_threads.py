"""Many threads make, share and drop engines at the same time."""

import threading

import numpy as np

from tests.kernels.reference import F32, random_tensors
from tests.kernels.sub_vits import UNEVEN, build, random_image, run


def test_engines_of_several_threads_do_not_disturb_each_other() -> None:
    """Each caller uses one engine that all share, and makes and drops some of its own."""
    weights = random_tensors(UNEVEN, 0)
    shared = build(UNEVEN, weights, threads=3)
    images = [random_image(UNEVEN, seed) for seed in range(4)]
    wanted = [run(shared, image) for image in images]
    answers: list[list[F32]] = [[] for _ in images]
    together = threading.Barrier(len(images))

    def caller(index: int) -> None:
        together.wait()
        for threads in (1, 2, 3):
            own = build(UNEVEN, weights, threads=threads)
            for model in (shared, own) * 5:
                answers[index].append(run(model, images[index]))

    callers = [threading.Thread(target=caller, args=(index,)) for index in range(len(images))]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    for index, given in enumerate(answers):
        assert len(given) == 30
        assert all(np.array_equal(feature, wanted[index]) for feature in given)
