"""The Hilbert-Schmidt independence criterion: how much two views of the same samples share.

    HSIC(X, Y) = trace(K_x H K_y H) / (n - 1)^2,   H = I - 1/n     docs/method.md, eq. 1

for n samples with Gram matrices K_x and K_y. X enters by the mean of five RBF kernels,

    k(x, x') = 1/5 * sum_s exp(-|x - x'|^2 / (2 s^2)),             s in {1, 2, 4, 8, 16}

(docs/method.md, eq. 2), after X is divided by its total deviation sqrt(mean_i |x_i - mean(x)|^2),
so that the widths mean the same for activations of every size and dimension. What does not vary has
an HSIC of zero.
"""

import math

import torch
from torch import Tensor

WIDTHS = (16, 8, 4, 2, 1)
"""Each half of the one before: its kernel is then the fourth power of that one's."""

BANDWIDTH = 7
"""Frequency beyond which the narrowest kernel has no power worth keeping: exp(-7^2 / 2)."""


def linear_gram(values: Tensor) -> Tensor:
    """Inner products of samples: float[n, d] -> float[n, n]."""
    return values @ values.T


def rbf_grams(values: Tensor) -> Tensor:
    """The kernel mix of m views of n samples: float[m, n, d] -> float[m, n, n]."""
    centred = values - values.mean(dim=1, keepdim=True)
    variance = centred.square().sum(dim=2).mean(dim=1)
    products = centred @ centred.transpose(1, 2)
    norms = products.diagonal(dim1=1, dim2=2)
    distances = (norms[:, :, None] + norms[:, None, :] - 2 * products).clamp(min=0)
    return _mix(distances * _reciprocal(variance)[:, None, None])


def hsic(left: Tensor, right: Tensor) -> Tensor:
    """HSIC of every pair: Gram matrices float[m, n, n] and float[k, n, n] -> float[m, k]."""
    samples = left.shape[-1]
    return left.flatten(1) @ centre(right).flatten(1).T / (samples - 1) ** 2


def scalar_hsic(values: Tensor, gram: Tensor, *, chunk: int = 64) -> Tensor:
    """HSIC of many scalars, by RBF kernels, with one other view of the samples.

    The n x n kernel of a scalar is never built. On the interval that the samples of a scalar span,
    the kernel is interpolated at g Chebyshev nodes z, k(x, y) = sum_ab l_a(x) k(z_a, z_b) l_b(y)
    with the Lagrange polynomials l, so for a centred ``gram`` F F^T

        trace(K F F^T) = sum_ab k(z_a, z_b) <p_a, p_b>,   p_a = sum_i l_a(x_i) F_i.

    The narrowest kernel's spectrum falls below 1e-11 at a frequency of seven, and a wave of
    frequency w on an interval of half length r needs little more than w r nodes: g is about
    7 r + 16 (30 to 60 for most neurons), and the error near 1e-10.

    Args:
        values: one scalar per row and sample, float[m, n].
        gram: Gram matrix of the other view, float[n, n], positive semi-definite.
        chunk: rows at a time; the memory needed is about 16 g n chunk bytes in float64.

    Returns:
        float[m], in the dtype of ``values``.
    """
    samples = values.shape[1]
    variance = values.var(dim=1, correction=0)
    scaled = (values - values.mean(dim=1, keepdim=True)) * _reciprocal(variance).sqrt()[:, None]
    low, high = scaled.aminmax(dim=1)
    centres, reaches = (high + low) / 2, (high - low) / 2
    factor = _factor(centre(gram))
    scores = torch.empty_like(reaches)
    order = reaches.argsort()  # alike intervals together: they need equally many nodes
    for begin in range(0, len(order), chunk):
        part = order[begin : begin + chunk]
        reach = reaches[part]
        places = (scaled[part] - centres[part, None]) / reach.clamp(min=1e-6)[:, None]
        count = math.ceil(BANDWIDTH * float(reach[-1])) + 16
        nodes, terms, to_lagrange = _chebyshev(count, places)
        moments = to_lagrange @ (terms @ factor).transpose(0, 1)
        gaps = reach[:, None, None] * (nodes[:, None] - nodes)
        scores[part] = ((_mix(gaps.square_()) @ moments) * moments).sum(dim=(1, 2))
    return scores / (samples - 1) ** 2


def centre(grams: Tensor) -> Tensor:
    """H K H: float[..., n, n] whose rows and columns each add up to zero."""
    rows = grams - grams.mean(dim=-1, keepdim=True)
    return rows - rows.mean(dim=-2, keepdim=True)


def _mix(distances: Tensor) -> Tensor:
    """Squared distances -> the mean of the five kernels; ``distances`` is used up."""
    kernel = distances.mul_(-0.5 / WIDTHS[0] ** 2).exp_()
    total = kernel.clone()
    for _ in WIDTHS[1:]:
        total += kernel.square_().square_()
    return total.div_(len(WIDTHS))


def _reciprocal(variance: Tensor) -> Tensor:
    """One over the variance; zero where nothing varies, beyond what rounding leaves."""
    return torch.where(variance > torch.finfo(variance.dtype).tiny, 1 / variance, 0.0)


def _factor(gram: Tensor) -> Tensor:
    """F of F F^T = ``gram``, without the columns that are rounding alone: float[n, rank]."""
    values, vectors = torch.linalg.eigh(gram)
    kept = values > len(gram) * torch.finfo(gram.dtype).eps * values[-1].abs()
    factor: Tensor = vectors[:, kept] * values[kept].sqrt()
    return factor


def _chebyshev(count: int, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Chebyshev nodes of [-1, 1], and polynomials at ``places``.

    Args:
        count: number of nodes, g.
        places: float[m, n], from -1 to 1.

    Returns:
        Nodes float[g], Chebyshev polynomials float[g, m, n], and the map float[g, g] that makes
        the nodes' Lagrange polynomials of them.
    """
    steps = torch.arange(count, dtype=places.dtype, device=places.device)
    angles = (steps + 0.5) * (math.pi / count)
    terms = places.new_empty(count, *places.shape)
    terms[0], terms[1] = 1, places
    twice = 2 * places
    for order in range(2, count):
        torch.mul(twice, terms[order - 1], out=terms[order]).sub_(terms[order - 2])
    to_lagrange = (angles[:, None] * steps).cos() * (2 / count)
    to_lagrange[:, 0] /= 2
    return angles.cos(), terms, to_lagrange
