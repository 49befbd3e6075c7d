"""When labels change a state: rows, times, what comes late, and a recorded flicker."""

import json
from collections.abc import Iterable, Sequence

import pytest

from devit_iot.aggregator.steady import Steady
from devit_iot.config.states import StateConfig
from tests.aggregator.make_flicker import CHANGES, FLICKER, changes, record


def states(rule: StateConfig, labels: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """When the state became what."""
    steady = Steady(rule)
    return [(at, name) for at, name in labels if steady.take(name, at)]


def each_second(names: Sequence[str]) -> list[tuple[float, str]]:
    return [(float(second), name) for second, name in enumerate(names)]


def test_a_flickering_label_changes_40_times_and_the_state_twice() -> None:
    recorded = json.loads(FLICKER.read_text())
    images = [(at, label) for at, label, _ in recorded["images"]]
    assert [list(image) for image in record(recorded["seed"])] == recorded["images"]
    assert changes([label for _, label in images]) == CHANGES == 40
    became = [name for _, name in states(StateConfig(), images)]
    assert became == ["closed", "open", "closed"]
    assert changes(became) == 2


@pytest.mark.parametrize(
    ("rule", "names", "became"),
    [
        (StateConfig(), "aab", []),
        (StateConfig(), "aaab", [(2.0, "a")]),
        (StateConfig(), "aaabbabbb", [(2.0, "a"), (8.0, "b")]),
        (StateConfig(), "aaabbubbb", [(2.0, "a"), (8.0, "b")]),
        (StateConfig(repeats=1), "abb", [(0.0, "a"), (1.0, "b")]),
        (StateConfig(repeats=1, settle_s=2), "aabbb", [(4.0, "b")]),
        (StateConfig(repeats=1, settle_s=2), "aaaba", [(2.0, "a")]),
        (StateConfig(repeats=2, hold_s=5), "aabbbbb", [(1.0, "a"), (6.0, "b")]),
        (StateConfig(repeats=2, hold_s=5), "aabbbaa", [(1.0, "a")]),
        (StateConfig(repeats=1), ["", "", "a"], [(0.0, ""), (2.0, "a")]),  # a class without a name
    ],
)
def test_what_changes_a_state(
    rule: StateConfig, names: Sequence[str], became: list[tuple[float, str]]
) -> None:
    assert states(rule, each_second(names)) == became


def test_a_label_of_an_older_image_counts_for_nothing() -> None:
    """Neither does it change a state, nor does it end a row."""
    labels = [(0.0, "a"), (1.0, "a"), (2.0, "a"), (5.0, "b"), (6.0, "b")]
    late = [(3.0, "a"), (4.0, "a"), (4.5, "a")]
    assert states(StateConfig(), [*labels, *late, (7.0, "b")]) == [(2.0, "a"), (7.0, "b")]
    assert states(StateConfig(repeats=1), [(2.0, "b"), (1.0, "a")]) == [(2.0, "b")]


def test_images_of_one_moment_count_each() -> None:
    assert states(StateConfig(), [(1.0, "a")] * 3) == [(1.0, "a")]


def test_a_restored_state_goes_on() -> None:
    steady = Steady(StateConfig(repeats=1, hold_s=10))
    steady.restore("a", -4.0)
    assert not steady.take("b", 5.0)
    assert steady.take("b", 6.0)
