"""The losses of docs/method.md, sections 3 to 5. All are means over the batch, in float32."""

import torch
from torch import Tensor
from torch.nn import functional

from devit_iot.decompose.network.models import BlockTrace


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy against class probabilities.

    Args:
        logits: float[batch, classes].
        targets: float[batch, classes], rows that sum to one.
        weights: weights of the classes, float[classes]; the loss is the weighted mean.
    """
    if weights is None:
        return functional.cross_entropy(logits.float(), targets)
    weighted = targets * weights
    return -(weighted * functional.log_softmax(logits.float(), dim=1)).sum() / weighted.sum()


def imitation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """How far the student's classes are from the teacher's (docs/method.md, eq. 9).

    Args:
        logits: float[batch, classes].
        teacher: the teacher's logits, float[batch, classes].
        temperature: 0 takes the teacher's best class as the label (Touvron et al. 2021, eq. 3), as
            the paper does; otherwise Hinton et al. 2015: T^2 KL(teacher / T || student / T).
    """
    if temperature == 0:
        return functional.cross_entropy(logits.float(), teacher.argmax(dim=1))
    student_log = functional.log_softmax(logits.float() / temperature, dim=1)
    teacher_log = functional.log_softmax(teacher.float() / temperature, dim=1)
    distance = functional.kl_div(student_log, teacher_log, reduction="batchmean", log_target=True)
    return distance * temperature**2


def relation(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(softmax(X_t X_t^T / sqrt(d_t)) || softmax(X_s X_s^T / sqrt(d_s))): docs/method.md, eq. 8.

    It compares how tokens relate to each other, so widths and head counts need not agree. The KL is
    summed over the columns, averaged over the rows and the batch.

    Args:
        student: queries, keys or values, float[batch, heads, tokens, head_dim].
        teacher: the teacher's queries, keys or values; heads and head_dim may differ.
    """
    return functional.kl_div(
        _relations(student), _relations(teacher), reduction="none", log_target=True
    ).sum(dim=2).mean()  # fmt: skip


def relations(student: BlockTrace, teacher: BlockTrace, weights: tuple[float, ...]) -> Tensor:
    """The weighted sum of :func:`relation` over queries, keys and values."""
    terms = [
        weight * relation(ours, theirs)
        for weight, ours, theirs in zip(weights, student[:3], teacher[:3], strict=True)
    ]
    return torch.stack(terms).sum()


def token_distance(hidden: Tensor, teacher: Tensor) -> Tensor:
    """MSE(h, teacher token), float[batch, k, dim] each (docs/method.md, eq. 11).

    Where the numbers of tokens differ, every one of the student's meets the teacher's mean.
    """
    if hidden.shape[1] != teacher.shape[1]:
        teacher = teacher.mean(dim=1, keepdim=True).expand_as(hidden)
    return functional.mse_loss(hidden.float(), teacher.float())


def soft_targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Labels -> probabilities (Szegedy et al. 2016, sec. 7), float32[batch, classes].

    Args:
        labels: int64[batch], or the float[batch, 3] of a mix: two labels and the second's share.
        classes: number of classes.
        smoothing: probability mass spread evenly over all classes.
    """
    if labels.ndim == 1:
        hard = functional.one_hot(labels, classes).float()
    else:
        first, second = (functional.one_hot(labels[:, k].long(), classes) for k in (0, 1))
        share = labels[:, 2:].float()
        hard = first * (1 - share) + second * share
    return hard * (1 - smoothing) + smoothing / classes


def _relations(values: Tensor) -> Tensor:
    """Log-softmax over the columns of X X^T / sqrt(d), heads concatenated: [batch, T, T]."""
    joined = values.float().transpose(1, 2).flatten(2)
    return functional.log_softmax(joined @ joined.mT / joined.shape[2] ** 0.5, dim=2)
