"""The stages of a decomposition, in their order: name and what it does."""

STAGES = {
    "partition": "Train the teacher, group the classes, and fine-tune a teacher for every part.",
    "shrink": "Go on: rank, search a policy, and cut every part's student.",
    "distill": "Go on: teach every student its own classes.",
    "ensemble": "Go on: train all parts and their fusion together.",
    "run": "All stages; then write the bundle and the report.",
}
"""Each is a command of ``devit decompose``."""

REPORT_STAGE = "run"
"""It trains nothing, but measures and writes what the others trained."""

TEACHER, TEMPLATE, ENSEMBLE = "teacher", "template", "ensemble"
"""Under these names a run folder keeps the teacher, what parts are cut from, and the fleet."""

PARTITION = "partition"
"""Under this name it keeps the classes of each part."""

FIRST, FIRST_CUT, FIRST_POLICY = "first", "shrunk-first", "policy-first"
"""Under these names it keeps the part that learns before all others: trained, cut, its policy."""

BUNDLE = "bundle"
"""The folder of the finished bundle inside a run folder."""


def part_teacher(part: int) -> str:
    """The name of a part's own teacher."""
    return f"part-teacher-{part}"


def shrunk(part: int) -> str:
    """The name of a part as it was cut."""
    return f"shrunk-{part}"


def distilled(part: int) -> str:
    """The name of a part after its sub-task distillation."""
    return f"distilled-{part}"


def policy_of(part: int) -> str:
    """The name of what was searched for a part: which heads and neurons it keeps."""
    return f"policy-{part}"


def result_of(name: str) -> str:
    """The name of what is known of the network ``name``: its cost, accuracy and training."""
    return f"{name}-result"


def reaches(until: str, stage: str) -> bool:
    """Whether a run that ends with stage ``until`` includes ``stage``."""
    order = list(STAGES)
    return order.index(until) >= order.index(stage)
