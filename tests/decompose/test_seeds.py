"""The random numbers of each stage: its own, and those that earlier versions drew."""

from devit_iot.bundle.manifest import MAX_PARTS
from devit_iot.decompose.stages import seeds


def numbers() -> list[int]:
    """The numbers of all stages of the largest fleet."""
    parts = range(MAX_PARTS)
    own = [first + part for first in (seeds.PART_TEACHERS, seeds.DISTILLED) for part in parts]
    return [seeds.TEACHER, seeds.TEMPLATE, seeds.FIRST, seeds.ENSEMBLE, *own]


def test_no_two_stages_draw_the_same_numbers() -> None:
    assert len(set(numbers())) == len(numbers()) == 2 * MAX_PARTS + 4


def test_recipes_of_earlier_versions_draw_the_same_numbers() -> None:
    assert [seeds.training(3, n) for n in (seeds.TEACHER, seeds.DISTILLED)] == [300, 1300]
    assert seeds.training(3, seeds.PART_TEACHERS + 2) == 303
    assert seeds.first_weights(3, seeds.TEMPLATE) == 903
    assert seeds.first_weights(3, seeds.ENSEMBLE) == 2003
    assert seeds.policies(3, 2) == 5
