"""A classifier and a policy -> the smaller classifier: rows, columns and blocks really go."""

import torch
from torch import Tensor

from devit_iot.bundle.spec import BlockSpec
from devit_iot.decompose.network.models import Classifier
from devit_iot.decompose.shrinking.policy import BlockPolicy, Policy


def slice_classifier(model: Classifier, policy: Policy) -> Classifier:
    """Cut ``model`` down to what ``policy`` keeps.

    Kept heads leave their rows of ``qkv`` (in Q, K and V alike) and their columns of ``proj`` in
    each block, kept neurons their rows of ``fc1`` and columns of ``fc2``. All else is
    copied. The result computes what ``model`` computes with ``policy.masks``; a dropped block is
    one that the residual stream passes by.

    Args:
        model: the network, which is left as it is; the result shares no memory with it.
        policy: heads and neurons to keep, with as many blocks as the model's.

    Returns:
        A classifier of ``policy.shrink(model.spec)``, in the dtype, on the device and in the mode
        (training or evaluation) of ``model``. No random numbers are drawn.

    Raises:
        SpecError: the policy does not fit the model.
    """
    spec, full = model.spec, model.state_dict()
    with torch.device("meta"):
        small = Classifier(policy.shrink(spec), len(full["heads.0.bias"]))
    state = {name: full[name].clone() for name in full if not name.startswith("vit.blocks.")}
    kept = [(old, keep) for old, keep in enumerate(policy.blocks) if keep is not None]
    for new, (old, keep) in enumerate(kept):
        cuts = _cuts(spec.blocks[old], keep, spec.head_dim)
        prefix = f"vit.blocks.{old}."
        for name in (n.removeprefix(prefix) for n in full if n.startswith(prefix)):
            value = full[prefix + name]
            if name in cuts:
                dim, indices = cuts[name]
                value = value.index_select(dim, indices.to(value.device))
            else:
                value = value.clone()
            state[f"vit.blocks.{new}.{name}"] = value
    small.load_state_dict(state, assign=True)
    return small.train(model.training)


def _cuts(block: BlockSpec, keep: BlockPolicy, head_dim: int) -> dict[str, tuple[int, Tensor]]:
    """Which dimension of which tensor of a block is cut, and the indices that stay."""
    query_key_value = torch.arange(3 * block.heads * head_dim).view(3, block.heads, head_dim)
    heads = torch.tensor(keep.heads)
    neurons = torch.tensor(keep.neurons)
    return {
        "attn.qkv.weight": (0, query_key_value[:, heads].flatten()),
        "attn.qkv.bias": (0, query_key_value[:, heads].flatten()),
        "attn.proj.weight": (1, query_key_value[0, heads].flatten()),
        "mlp.fc1.weight": (0, neurons),
        "mlp.fc1.bias": (0, neurons),
        "mlp.fc2.weight": (1, neurons),
    }
