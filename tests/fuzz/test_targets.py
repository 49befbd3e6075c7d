"""The short form: a few hundred inputs for each target, near what it likes and far from it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Target

CHANGES = st.lists(
    st.tuples(
        st.integers(0, 100_000),
        st.integers(0, 40),
        st.one_of(
            st.binary(max_size=12),
            st.sampled_from(
                (b"\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x80", b'"', b"[[[[", b"9" * 30)
            ),
        ),
    ),
    max_size=5,
)


def changed(seed: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """``seed`` with some stretches replaced by other bytes."""
    for place, length, instead in changes:
        begin = place % (len(seed) + 1)
        seed = seed[:begin] + instead + seed[begin + length :]
    return seed


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_readers_give_a_value_or_one_of_our_errors(target: Target, data: st.DataObject) -> None:
    near = st.builds(changed, st.sampled_from(target.seeds), CHANGES)
    target.read(data.draw(st.one_of(near, st.binary(max_size=200))))
