"""Masking and slicing are the same network, once slow and once small."""

import msgspec
import pytest
import torch
from torch import Tensor

from devit_iot.bundle.spec import BlockSpec, SubVitSpec, macs
from devit_iot.decompose.shrinking.policy import BlockPolicy, Policy
from devit_iot.decompose.shrinking.slicing import slice_classifier
from devit_iot.errors import SpecError
from tests.support.shapes import CCT, DEIT, VIT, random_images, random_model

POLICY = Policy(
    (
        BlockPolicy((0, 2), (1, 3, 4, 10, 19)),
        BlockPolicy((1,), (0, 7, 8)),
        BlockPolicy((1, 2, 3), tuple(range(11))),
    )
)
SHORT = Policy((POLICY.blocks[0], None, POLICY.blocks[2]))


def relative(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["f64", "f32"]
)
@pytest.mark.parametrize("spec", [VIT, DEIT, CCT], ids=["vit", "deit", "cct"])
@torch.no_grad()
def test_masked_is_sliced(spec: SubVitSpec, dtype: torch.dtype, tolerance: float) -> None:
    model, images = random_model(spec, dtype), random_images(dtype)
    masked = model(images, masks=POLICY.masks(spec))
    small = slice_classifier(model, POLICY)
    assert small.spec == POLICY.shrink(spec)
    assert {p.dtype for p in small.parameters()} == {dtype}
    sliced = small(images)
    assert relative(sliced.logits, masked.logits) <= tolerance
    assert relative(sliced.tokens, masked.tokens) <= tolerance
    assert relative(masked.logits, model(images).logits) > 1e-2  # else nothing was tested


@pytest.mark.parametrize("spec", [VIT, DEIT], ids=["vit", "deit"])
@torch.no_grad()
def test_a_dropped_block_is_passed_by(spec: SubVitSpec) -> None:
    model, images = random_model(spec), random_images()
    masks = POLICY.masks(spec)
    stream = model.vit.embed(images)
    for index in (0, 2):
        stream, _ = model.vit.blocks[index](stream, masks[index])
    wanted = model.classify(model.vit.read(stream))
    small = slice_classifier(model, SHORT)
    assert len(small.spec.blocks) == 2
    assert relative(small(images).logits, wanted) <= 1e-12


def test_slicing_saves_what_the_spec_says() -> None:
    model = random_model(VIT)
    small = slice_classifier(model, POLICY)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    assert macs(small.spec) < macs(VIT)
    assert small.spec.blocks == (BlockSpec(2, 5), BlockSpec(1, 3), BlockSpec(3, 11))


def test_the_slice_is_a_trainable_copy() -> None:
    model = random_model(VIT).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    small = slice_classifier(model, POLICY)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert small.training
    small(random_images()).logits.sum().backward()
    assert all(p.grad is not None for p in small.parameters())
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (Policy(POLICY.blocks[:2]), "2 blocks for a network of 3"),
        (Policy((BlockPolicy((), (1,)), *POLICY.blocks[1:])), "block 0 keeps heads"),
        (Policy((BlockPolicy((0,), (2, 1)), *POLICY.blocks[1:])), "block 0 keeps neurons"),
        (Policy((BlockPolicy((3,), (1,)), *POLICY.blocks[1:])), "of 0 to 2"),
        (Policy((BlockPolicy((-1,), (1,)), *POLICY.blocks[1:])), "block 0 keeps heads"),
        (Policy((None, None, None)), "there is no block"),
    ],
)
def test_a_policy_that_does_not_fit(policy: Policy, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        slice_classifier(random_model(VIT), policy)


def test_a_block_that_must_stay() -> None:
    with pytest.raises(SpecError, match="residual_norm"):
        slice_classifier(random_model(CCT), SHORT)
    with pytest.raises(SpecError, match="no mask"):
        SHORT.masks(VIT)


def test_a_policy_is_plain_data() -> None:
    assert msgspec.json.decode(msgspec.json.encode(SHORT), type=Policy) == SHORT
