"""Refitted layers against least squares written out, and against the cut alone."""

import numpy as np
import torch
from torch import Tensor, nn

from devit_iot.bundle.spec import BlockSpec, SubVitSpec
from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.shrinking import compensate as module
from devit_iot.decompose.shrinking.compensate import BlockMoments, compensate, measure
from devit_iot.decompose.shrinking.heldout import HeldOut
from devit_iot.decompose.shrinking.policy import BlockPolicy, Policy
from devit_iot.decompose.shrinking.slicing import slice_classifier

SPEC = SubVitSpec(
    image_size=16,
    resize_size=16,
    patch_size=4,
    embed_dim=12,
    head_dim=4,
    prefix_tokens=1,
    blocks=(BlockSpec(3, 20), BlockSpec(2, 24)),
)
POLICY = Policy(
    (BlockPolicy((0, 2), tuple(range(3, 17))), BlockPolicy((1,), tuple(range(0, 24, 2))))
)
SHORT = Policy((None, POLICY.blocks[1]))


def setting() -> tuple[Classifier, Tensor, tuple[BlockMoments, ...]]:
    generator = torch.Generator().manual_seed(1)
    model = Classifier(SPEC, 5).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    images = torch.randn(30, 3, 16, 16, dtype=torch.float64, generator=generator)
    return model, images, measure(model, images, micro_batch=7)


@torch.no_grad()
def test_moments_are_those_of_all_tokens() -> None:
    model, images, moments = setting()
    traces = model(images, keep=(0, 1)).traces
    for index, block in enumerate(moments):
        hidden = traces[index].hidden.flatten(0, 1).numpy()
        heads = traces[index].heads.transpose(1, 2).reshape(len(hidden), -1).numpy()
        for rows, layer in ((heads, block.heads), (hidden, block.neurons)):
            np.testing.assert_allclose(layer.mean, rows.mean(axis=0), atol=1e-12)
            wanted = np.cov(rows, rowvar=False, bias=True)
            np.testing.assert_allclose(layer.covariance, wanted, atol=1e-12)


@torch.no_grad()
def test_the_refit_is_ridge_regression() -> None:
    model, images, moments = setting()
    small = compensate(model, POLICY, moments).state_dict()
    hidden = model(images, keep=(1,)).traces[1].hidden.flatten(0, 1).numpy()
    state = model.state_dict()
    weight, bias = (state[f"vit.blocks.1.mlp.fc2.{kind}"].numpy() for kind in ("weight", "bias"))
    kept = hidden[:, ::2] - hidden[:, ::2].mean(axis=0)
    answers = (hidden - hidden.mean(axis=0)) @ weight.T
    ridge = module.RIDGE * kept.var(axis=0).mean() * len(hidden)
    # Rows of sqrt(ridge) ask for the old weight: plain least squares then solves the ridge's.
    rows = np.vstack([kept, np.sqrt(ridge) * np.eye(kept.shape[1])])
    wanted = np.vstack([answers, np.sqrt(ridge) * weight[:, ::2].T])
    solution = np.linalg.lstsq(rows, wanted, rcond=None)[0].T
    np.testing.assert_allclose(small["vit.blocks.1.mlp.fc2.weight"], solution, atol=1e-9)
    shift = hidden.mean(axis=0) @ weight.T - hidden[:, ::2].mean(axis=0) @ solution.T
    np.testing.assert_allclose(small["vit.blocks.1.mlp.fc2.bias"], bias + shift, atol=1e-9)


@torch.no_grad()
def test_what_stays_whole_stays_the_same() -> None:
    model, images, moments = setting()
    whole = Policy.whole(SPEC)
    before, after = model(images).logits, compensate(model, whole, moments)(images).logits
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_a_repeated_neuron_is_hardly_missed() -> None:
    model, images, _ = setting()
    mlp = model.get_submodule("vit.blocks.1.mlp")
    for name in ("fc1.weight", "fc1.bias"):
        values = mlp.get_parameter(name)
        values[1::2] = values[::2]  # every second neuron repeats the one before
    first = BlockPolicy((0, 1, 2), tuple(range(20)))
    policy = Policy((first, BlockPolicy((0, 1), tuple(range(0, 24, 2)))))
    moments = measure(model, images)
    wanted = model(images).logits
    cut = (slice_classifier(model, policy)(images).logits - wanted).abs().max()
    refitted = (compensate(model, policy, moments)(images).logits - wanted).abs().max()
    assert refitted < 0.2 * cut


@torch.no_grad()
def test_answers_come_closer_to_the_whole() -> None:
    model, images, moments = setting()
    assert HeldOut(model, images, moments=moments)(POLICY) < HeldOut(model, images)(POLICY)
    assert len(compensate(model, SHORT, moments).spec.blocks) == 1
    assert compensate(model, POLICY, moments).spec == POLICY.shrink(SPEC)
