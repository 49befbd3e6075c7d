"""Topics of cells at an upper broker, there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from devit_iot.errors import ConfigError, MessageError
from devit_iot.protocol.cells import CellTopics, answers, present, split_cell
from devit_iot.protocol.topics import Topics

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)


@given(cell=NAMES, fleet=NAMES, name=NAMES)
def test_a_topic_comes_back_with_its_cell(cell: str, fleet: str, name: str) -> None:
    upper, own = CellTopics(fleet, cell), Topics(fleet)
    for above, below in (
        (upper.label(name), own.label(name)),
        (upper.head_label(name, "gate"), own.head_label(name, "gate")),
        (upper.state(name, "gate"), own.state(name, "gate")),
        (upper.node_status(name), own.node_status(name)),
        (upper.aggregator_status(0), own.aggregator_status(0)),
    ):
        assert above == upper.prefix + below
        assert split_cell(above) == (cell, below)
        every = CellTopics(fleet)
        assert any(topic_matches_sub(f, above) for f in (*answers(every), *present(every)))


def test_topics_of_a_fleet_without_cells_are_as_they_were() -> None:
    assert Topics("home").label("door") == "devit/v1/home/labels/door"
    assert CellTopics("home", "a").label("door") == "cells/a/devit/v1/home/labels/door"
    assert CellTopics("home").labels == "cells/+/devit/v1/home/labels/+"
    assert CellTopics("home", "a").connected == "cells/a/connected"


def test_no_image_feature_or_order_goes_up() -> None:
    topics = Topics("home")
    up = (*answers(topics), *present(topics))
    for topic in (
        "cameras/door/image",
        topics.feature(0, "pi-1"),
        topics.crops,
        topics.release,
        topics.hub_command,
        topics.head("gate"),
        topics.teach_ask("0123abcd"),
        topics.enough(0),
    ):
        assert not any(topic_matches_sub(wanted, topic) for wanted in up), topic


@pytest.mark.parametrize("cell", ["", "a/b", "#", "a b", "-a"])
def test_a_cell_needs_a_name_of_one_level(cell: str) -> None:
    with pytest.raises(ConfigError):
        CellTopics("home", cell)


@pytest.mark.parametrize("topic", ["", "cells", "cells/a", "cells/a/", "cells/+/x", "cell/a/x"])
def test_what_is_no_topic_of_a_cell(topic: str) -> None:
    with pytest.raises(MessageError):
        split_cell(topic)
