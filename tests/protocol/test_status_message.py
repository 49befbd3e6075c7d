"""What is true of statuses alone: the last will, and the states that there are."""

import msgspec
import pytest

from devit_iot.errors import MessageError
from devit_iot.protocol.status import AggregatorStatus, NodeStatus
from tests.golden.make import AGGREGATOR_STATUS, NODE_STATUS


@pytest.mark.parametrize("status", [NODE_STATUS, AGGREGATOR_STATUS])
def test_the_last_will_differs_in_its_state_only(status: NodeStatus | AggregatorStatus) -> None:
    online = msgspec.structs.replace(status, state="online")
    assert online.gone() == msgspec.structs.replace(status, state="offline")


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(MessageError):
        NodeStatus.decode(NODE_STATUS.encode().replace(b'"online"', b'"asleep"'))
