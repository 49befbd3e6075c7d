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


def reaches(until: str, stage: str) -> bool:
    """Whether a run that ends with stage ``until`` includes ``stage``."""
    order = list(STAGES)
    return order.index(until) >= order.index(stage)
