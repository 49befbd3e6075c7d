"""devit_iot/node/awaited.py: an image with crops is done when the features of all of them are."""

from devit_iot.node.awaited import Awaited

IMAGE, FIRST, SECOND = b"image", b"first", b"second"


def test_an_image_that_was_never_named_is_done_with_its_own_feature() -> None:
    awaited = Awaited()
    assert awaited.is_done(IMAGE) is None
    assert awaited.seen(IMAGE) == IMAGE


def test_an_image_with_crops_is_done_with_the_last_of_them() -> None:
    awaited = Awaited()
    awaited.expect(IMAGE, [IMAGE, FIRST, SECOND])
    assert awaited.seen(IMAGE) is None
    assert awaited.seen(FIRST) is None
    assert not awaited.is_done(IMAGE)
    awaited.expect(IMAGE, [IMAGE, FIRST, SECOND])  # delivered again: what was seen stays seen
    assert awaited.seen(SECOND) == IMAGE
    assert awaited.is_done(IMAGE)
    assert awaited.seen(SECOND) == SECOND  # computed twice


def test_an_image_whose_crops_were_all_seen_before_is_done() -> None:
    awaited = Awaited()
    awaited.expect(IMAGE, [])
    assert awaited.is_done(IMAGE)


def test_the_oldest_image_is_forgotten() -> None:
    awaited = Awaited()
    awaited.expect(IMAGE, [FIRST])
    for number in range(4096):
        awaited.expect(number.to_bytes(2, "little"), [number.to_bytes(3, "little")])
    assert awaited.is_done(IMAGE) is None
    assert awaited.seen(FIRST) == FIRST
