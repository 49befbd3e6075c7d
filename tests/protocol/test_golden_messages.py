"""The golden messages, byte for byte: what boards in the field read and write."""

import pytest

from devit_iot.protocol.feature import Feature
from tests.golden.make import EARLIER, GOLDEN, MESSAGES
from tests.protocol.wire import same


@pytest.mark.parametrize("name", MESSAGES)
def test_golden_bytes(name: str) -> None:
    stored = (GOLDEN / name).read_bytes()
    assert MESSAGES[name].encode() == stored
    decoded = type(MESSAGES[name]).decode(stored)
    wanted = MESSAGES[name]
    if isinstance(decoded, Feature) and isinstance(wanted, Feature):
        assert same(decoded, wanted)
        assert decoded.parts_fingerprint == wanted.parts_fingerprint
    else:
        assert decoded == wanted


@pytest.mark.parametrize("name", EARLIER)
def test_what_earlier_services_say_still_decodes(name: str) -> None:
    stored = (GOLDEN / name).read_bytes()
    assert type(EARLIER[name]).decode(stored) == EARLIER[name]
