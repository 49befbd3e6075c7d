"""What a policy costs, measured on images that no ranking has seen."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from devit_iot.decompose.network.models import Classifier, class_scores
from devit_iot.decompose.shrinking.compensate import BlockMoments, compensate
from devit_iot.decompose.shrinking.policy import Policy
from devit_iot.decompose.shrinking.slicing import slice_classifier


class HeldOut:
    """How far a shrunk classifier's answers are from the whole one's (docs/method.md, eq. 5).

        loss = mean over images of KL(softmax(whole) || softmax(shrunk))

    ``whole`` and ``shrunk`` are the class scores, each the mean of the heads' logits. Candidates
    are evaluated sliced, which is faster than masked and gives the same scores. They share the
    embedding of the images.

    Args:
        model: the whole classifier.
        images: normalised pixels, float[batch, 3, image_size, image_size].
        micro_batch: images per forward pass.
        moments: if given, candidates are compensated, see
            :mod:`devit_iot.decompose.shrinking.compensate`.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: Classifier,
        images: Tensor,
        *,
        micro_batch: int = 25,
        moments: Sequence[BlockMoments] | None = None,
    ) -> None:
        self._model = model
        self._moments = moments
        device = next(model.parameters()).device
        self._streams = [
            model.vit.embed(images[begin : begin + micro_batch].to(device))
            for begin in range(0, len(images), micro_batch)
        ]
        self.whole = _scores(model, self._streams)

    @torch.no_grad()
    def scores(self, policy: Policy) -> Tensor:
        """Class scores of the shrunk classifier, float[batch, classes]."""
        if self._moments is None:
            small = slice_classifier(self._model, policy)
        else:
            small = compensate(self._model, policy, self._moments)
        return _scores(small, self._streams)

    def __call__(self, policy: Policy) -> float:
        """The loss; 0 for what answers like the whole."""
        answers = self.scores(policy).log_softmax(dim=1)
        wanted = self.whole.log_softmax(dim=1)
        return float(functional.kl_div(answers, wanted, reduction="batchmean", log_target=True))


def _scores(model: Classifier, streams: list[Tensor]) -> Tensor:
    scores = []
    for part in streams:
        stream = part
        for block in model.vit.blocks:
            stream, _ = block(stream)
        scores.append(class_scores(model.classify(model.vit.read(stream))))
    return torch.cat(scores)
