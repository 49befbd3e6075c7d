"""After the last block only the published tokens are computed."""

import pytest
import torch

from devit_iot.spec import SubVitSpec
from tests.decompose.shapes import CCT, DEIT, VIT, random_images, random_model

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
