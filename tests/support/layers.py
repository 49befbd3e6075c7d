"""The layers of the package: what stands above what, and what each room holds.

Top first. A module imports from its own room and from rows below; rooms of one row are siblings.
The drawing in docs/architecture.md is made from this table.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """Rooms of one height, and what they hold."""

    rooms: tuple[str, ...]
    holds: str


LAYERS = (
    Row(("cli",), "parse, build, run; one-line errors"),
    Row(("decompose.launch",), "a whole decomposition, from a recipe to its report"),
    Row(("decompose.finish",), "the bundle, measured on the test images"),
    Row(("decompose.run",), "the order of the stages"),
    Row(("decompose.stages",), "teacher, cut, distillation, joint training, export"),
    Row(("decompose.training", "demo", "doctor"), "training loop; a fleet to look at; checks"),
    Row(("build_managed",), "composition root of a fleet with a hub"),
    Row(("build_aggregator",), "composition root of an aggregator"),
    Row(
        ("build", "dashboard", "monitor"),
        "root of a node; live page; the fleet's state",
    ),
    Row(("planning",), "which board carries what"),
    Row(("decompose.recipe", "decompose.report"), "what decides a run; what it reached"),
    Row(("node", "aggregator", "hub", "collect"), "one board; fusion; releases; pictures"),
    Row(("updates",), "a member's way to another release"),
    Row(("teach",), "classes of one's own, fitted to features"),
    Row(("decompose.run_folder", "decompose.shrinking"), "what a run keeps; what a part keeps"),
    Row(("service", "camera", "homeassistant"), "status and metrics; pictures; announcements"),
    Row(("decompose.network", "evaluation", "bench"), "networks and losses; accuracy; time"),
    Row(("transport", "export"), "MQTT; checkpoints become tensors"),
    Row(
        ("engine", "config", "datasets", "fleet", "energy"),
        "inference; options; images; certificates; joules",
    ),
    Row(("trust",), "who may give releases"),
    Row(("bundle",), "manifest, shapes, tensor files, signature"),
    Row(("protocol",), "topics, messages, texts"),
    Row(("_core", "keys"), "the C++ module; unknown keys"),
    Row(("programs", "sysfs", "text_file"), "the operating system's programs and files"),
    Row(("errors", "figures", "limits"), "what needs nothing else"),
    Row(("__init__",), "the version"),
)

CPP = (
    ("bindings", "arrays in and out, no copies"),
    ("runtime", "weights, blocks, the whole sub-ViT"),
    ("kernels", "GEMM, attention, layer norm, resize, by instruction set"),
    ("base", "threads, buffers, CPU features"),
)


def drawing() -> str:
    """Both stacks as text, one row a line."""
    lines = ["devit_iot"]
    for row in LAYERS:
        rooms = "  ".join(room.replace(".", "/") for room in row.rooms)
        lines.append(f"  {rooms:<46}{row.holds}")
    lines += ["csrc", *(f"  {name:<46}{holds}" for name, holds in CPP)]
    return "\n".join(lines)
