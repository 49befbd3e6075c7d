"""Training steps as CUDA graphs.

The kernels of small networks end sooner than Python launches the next one, so a GPU would wait most
of the time. A graph launches all kernels of a step at once.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from devit_iot.decompose.training.batches import Answers, Batch

Step = Callable[[Batch], Tensor]
"""Learns from a batch in place -> its losses, float[terms]."""
Capture = Callable[[Step, Batch], Step]
"""Gives a step that repeats what the given one does for batches of this one's shapes."""

EAGER_STEPS = 3
"""Steps of a shape before its capture: libraries and the optimiser allocate what they keep."""


class Captured:
    """A step that is captured once for each shape of batch, and repeated from then on.

    Every call trains, those before the capture too.

    Args:
        step: must not read a value from the device, nor copy one to it.
        capture: how a step is captured.
    """

    def __init__(self, step: Step, capture: Capture) -> None:
        self._step = step
        self._capture = capture
        self._eager: dict[_Shapes, int] = {}
        self._repeated: dict[_Shapes, Step] = {}

    def __call__(self, batch: Batch) -> Tensor:
        """Learn from a batch; its losses, valid until the next call."""
        shapes = _shapes(batch)
        repeated = self._repeated.get(shapes)
        if repeated is not None:
            return repeated(batch)
        done = self._eager.get(shapes, 0)
        if done < EAGER_STEPS:
            self._eager[shapes] = done + 1
            return self._step(batch)
        self._repeated[shapes] = self._capture(self._step, batch)
        return self._repeated[shapes](batch)


class CudaCapture:
    """Captures steps as CUDA graphs that share their memory: one runs at a time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, step: Step, batch: Batch) -> Step:
        """See :data:`Capture`. The gradients must be None: the graph brings its own."""
        inputs = _copy(batch)
        read = _tensors(inputs)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            losses = step(inputs)

        def repeat(given: Batch) -> Tensor:
            for mine, value in zip(read, _tensors(given), strict=True):
                mine.copy_(value)
            graph.replay()
            return losses

        return repeat


_Shapes = tuple[tuple[torch.Size, torch.dtype], ...]


def _shapes(batch: Batch) -> _Shapes:
    return tuple((value.shape, value.dtype) for value in _tensors(batch))


def _tensors(batch: Batch) -> list[Tensor]:
    given = [batch.images, batch.labels, *(batch.answers or ())]
    return [value for value in given if value is not None]


def _copy(batch: Batch) -> Batch:
    answers = batch.answers
    if answers is not None:
        tokens = None if answers.tokens is None else answers.tokens.clone()
        answers = Answers(answers.logits.clone(), tokens)
    return Batch(batch.images.clone(), batch.labels.clone(), answers)
