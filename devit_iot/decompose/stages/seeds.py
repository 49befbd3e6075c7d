"""Which random numbers each stage draws: all follow from the recipe's seed and a stage's number.

The numbers decide what a recipe reproduces: a run that goes on after an update needs them as they
were.
"""

TEACHER = 0
"""The number of the teacher's training."""

PART_TEACHERS = 1
"""The number of part 0's own teacher; those of the other parts follow it."""

TEMPLATE = 900
"""The number of the training of what parts are cut from, where that is not the teacher."""

DISTILLED = 1000
"""The number of part 0's distillation; those of the other parts follow it."""

FIRST = 1900
"""The number of the training of the part that learns before all others."""

ENSEMBLE = 2000
"""The number of the training of all parts together."""


def first_weights(seed: int, number: int) -> int:
    """The seed of a new network's weights.

    Args:
        seed: the recipe's seed.
        number: number of the stage that trains the network.
    """
    return seed + number


def training(seed: int, number: int) -> int:
    """The seed of a training: it decides the order of the images and how they are changed.

    Args:
        seed: the recipe's seed.
        number: number of the stage.
    """
    return seed * 100 + number


def policies(seed: int, part: int) -> int:
    """The seed of one part's policy: of the search, and of the images if they show all classes.

    Args:
        seed: the recipe's seed.
        part: the part's index.
    """
    return seed + part
