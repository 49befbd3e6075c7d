"""Attention in halves, and what the last block leaves out."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.decompose.network.models import MAX_SEPARATE_TOKENS, attend
from tests.support.shapes import CCT, DEIT, VIT, random_images, random_model

LAST = len(VIT.blocks) - 1


@pytest.mark.parametrize("spec", [VIT, DEIT, CCT], ids=["vit", "deit", "cct"])
def test_a_last_block_that_computes_less_changes_nothing(spec: SubVitSpec) -> None:
    model, images = random_model(spec), random_images()
    results = []
    for keep in ((), (LAST,)):  # a trace that is asked for holds every token
        model.zero_grad(set_to_none=True)
        output = model(images, keep=keep)
        output.logits.square().sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        assert len(gradients) == len(list(model.parameters()))
        results.append({"logits": output.logits, **gradients})
    for name, wanted in results[1].items():
        torch.testing.assert_close(results[0][name], wanted, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize(
    ("spec", "last"), [(VIT, 1), (DEIT, 2), (CCT, CCT.tokens)], ids=["vit", "deit", "cct"]
)
def test_tokens_of_the_last_block(spec: SubVitSpec, last: int) -> None:
    model, images = random_model(spec), random_images()
    seen: list[int] = []
    for block in model.vit.blocks:
        block.get_submodule("mlp.fc1").register_forward_hook(
            lambda _module, _inputs, output: seen.append(output.shape[1])
        )
    model(images)
    assert seen == [*[spec.tokens] * LAST, last]
    seen.clear()
    trace = model(images, keep={LAST}).traces[LAST]
    assert seen == [spec.tokens] * (LAST + 1)
    assert trace.query.shape[2] == trace.hidden.shape[1] == spec.tokens


@pytest.mark.parametrize("tokens", [1, 26, MAX_SEPARATE_TOKENS, MAX_SEPARATE_TOKENS + 1])
@pytest.mark.parametrize("asked", [None, 1])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_attention_and_its_gradients_are_those_of_float64(
    tokens: int, asked: int | None, dtype: torch.dtype
) -> None:
    """Against softmax(Q K^T / sqrt(d)) V: 2e-2 of the largest number in bfloat16, 1e-5 else.

    With one token the gradients of Q and K are zero, so the largest number is that of all.
    """
    generator = torch.Generator().manual_seed(tokens)
    shapes = [(2, 3, asked or tokens, 8), (2, 3, tokens, 8), (2, 3, tokens, 8)]
    exact = [torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in shapes]
    exact = [value.to(dtype).double() for value in exact]

    def gradients(inputs: list[Tensor]) -> list[Tensor]:
        leaves = [value.clone().requires_grad_() for value in inputs]
        if leaves[0].dtype == dtype and inputs is not exact:
            output = attend(*leaves)
        else:
            scores = leaves[0] @ leaves[1].mT / 8**0.5
            output = functional.softmax(scores, dim=-1) @ leaves[2]
        torch.autograd.backward(output.double().square().sum())
        return [output.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    found, expected = gradients([value.to(dtype) for value in exact]), gradients(exact)
    largest = max(float(wanted.abs().max()) for wanted in expected)
    tolerance = (2e-2 if dtype == torch.bfloat16 else 1e-5) * largest
    for ours, wanted in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), wanted, rtol=0, atol=tolerance)
