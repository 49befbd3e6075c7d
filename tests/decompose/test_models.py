"""After the last block only the published tokens are computed."""

import msgspec
import pytest
import torch
from torch import Tensor, nn

from devit_iot.decompose.models import Classifier
from devit_iot.spec import BlockSpec, ConvSpec, SubVitSpec

VIT = SubVitSpec(
    image_size=32,
    resize_size=32,
    patch_size=8,
    embed_dim=24,
    head_dim=8,
    prefix_tokens=1,
    blocks=(BlockSpec(3, 20), BlockSpec(2, 16)),
)
DEIT = msgspec.structs.replace(VIT, prefix_tokens=2)
CCT = msgspec.structs.replace(
    VIT, patch_size=0, prefix_tokens=0, tokenizer=(ConvSpec(24, 3, 2, 1),), residual_norm=True
)


def model_and_images(spec: SubVitSpec) -> tuple[Classifier, Tensor]:
    generator = torch.Generator().manual_seed(7)
    model = Classifier(spec, 5).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return model, torch.randn(3, 3, 32, 32, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("spec", [VIT, DEIT, CCT], ids=["vit", "deit", "cct"])
def test_a_last_block_that_computes_less_changes_nothing(spec: SubVitSpec) -> None:
    model, images = model_and_images(spec)
    results = []
    for keep in ((), (1,)):  # a trace that is asked for holds every token
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
    model, images = model_and_images(spec)
    seen: list[int] = []
    for block in model.vit.blocks:
        block.get_submodule("mlp.fc1").register_forward_hook(
            lambda _module, _inputs, output: seen.append(output.shape[1])
        )
    model(images)
    assert seen == [spec.tokens, last]
    seen.clear()
    trace = model(images, keep={1}).traces[1]
    assert seen == [spec.tokens, spec.tokens]
    assert trace.query.shape[2] == trace.hidden.shape[1] == spec.tokens
