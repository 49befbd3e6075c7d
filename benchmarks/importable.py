"""Count which of timm's published checkpoints `devit bundle import` takes, and why not the others.

python benchmarks/importable.py [--list]

Needs timm and torchvision (`pip install timm`), and no weights: every network is built without
memory, and its tensors are judged by their names and shapes beside a config.json like that of its
folder on the hub. A network that would be computed otherwise than by timm (other blocks or heads,
another activation or epsilon) does not count as taken.
"""

import argparse
import json
import re
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from timm.models.vision_transformer import Block
from torch import nn

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.errors import DataError, SpecError
from devit_iot.export.beside import CONFIG, read_beside
from devit_iot.export.importer import ImportOptions, check_tensors, infer_spec
from devit_iot.export.names import internal_names
from devit_iot.export.variants import plain

FAMILIES = (
    "vision_transformer", "deit", "vision_transformer_hybrid", "vision_transformer_relpos",
    "vision_transformer_sam", "beit", "eva", "cait", "convit", "pit", "crossvit", "tnt", "volo",
    "xcit",
)  # fmt: skip
"""timm's modules of networks that look like a ViT."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="name the checkpoints too")
    listed = parser.parse_args().list
    names = [
        name for family in FAMILIES for name in timm.list_models(module=family, pretrained=True)
    ]
    found = defaultdict(list)
    for name in names:
        found[judge(name)].append(name)
    print(f"timm {timm.__version__}: {len(names)} checkpoints")
    for verdict, which in sorted(found.items(), key=lambda item: -len(item[1])):
        print(f"{len(which):5d}  {verdict}")
        if listed:
            print(*(f"         {name}" for name in which), sep="\n")


def judge(name: str) -> str:
    """``taken``, or why not."""
    with torch.device("meta"):
        try:
            model = timm.create_model(name, pretrained=False)
        except (RuntimeError, NotImplementedError):  # some compute with numbers as they are made
            return "cannot be built without memory"
    state = {
        key: np.broadcast_to(np.float64(0), tuple(value.shape))
        for key, value in model.state_dict().items()
    }
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / CONFIG).write_text(json.dumps(config_of(name, model), default=str))
        try:
            beside = read_beside(Path(folder) / "model.safetensors")
            weights, _ = plain(internal_names(state))
            spec, _ = infer_spec(weights, ImportOptions(), beside)
            check_tensors(spec, weights, len(weights.get("head.weight", ())))
        except (DataError, SpecError) as error:
            return short(str(error))
    return difference(spec, model) or "taken"


def config_of(name: str, model: nn.Module) -> dict[str, object]:
    """What timm writes into config.json; ``model_args`` only where a model was made with some."""
    return {
        "architecture": name.partition(".")[0],
        "num_classes": getattr(model, "num_classes", 0),
        "pretrained_cfg": timm.get_pretrained_cfg(name).to_dict(),
    }


def difference(spec: SubVitSpec, model: nn.Module) -> str:
    """In what the network that would be computed differs from ``model``; empty if in nothing."""
    block: Any = model.get_submodule("blocks.0")
    if type(block) is not Block:  # such as those that normalise afterwards, under the same names
        return f"taken, and computed with other blocks than a {type(block).__name__}"
    if spec.blocks[0].heads != block.attn.num_heads:
        return "taken with other heads"
    act = block.mlp.act
    if not isinstance(act, nn.GELU) or act.approximate != "none":
        return "taken, and computed with another activation"
    if not np.isclose(spec.norm_eps, block.norm1.eps, rtol=0.1):
        return f"taken, and computed with another epsilon than {block.norm1.eps:g}"
    return ""


def short(message: str) -> str:
    """A refusal without what differs from network to network."""
    if match := re.match(r"this network (.*?): ", message):
        return match[1]
    if match := re.match(r"'(.*?)' \(\d+ such tensors\)", message):
        return "has tensors such as " + re.sub(r"\d+", "N", match[1])
    if match := re.match(r"config.json: '.*?' has (.*?);", message):
        return f"has {match[1]}, by its name alone"
    return re.sub(r"\d+", "N", message.partition(";")[0])


if __name__ == "__main__":
    main()
