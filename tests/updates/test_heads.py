"""A release with the parts of the one before takes its heads over."""

import shutil
from pathlib import Path

import pytest

from devit_iot.bundle.head import FOLDER, TENSORS, current_folder, head_names, live_version
from devit_iot.bundle.head_writing import copy_head
from devit_iot.bundle.reading import Bundle
from devit_iot.errors import BundleError
from devit_iot.updates.heads import take_over_heads
from devit_iot.updates.store import Store
from tests.support.fleets import make_bundle
from tests.support.heads import write_random


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def old(store: Store, bundle: Bundle) -> Bundle:
    return Bundle(Path(shutil.copytree(bundle.path, store.folder("1" * 16))))


@pytest.fixture
def new(store: Store, bundle: Bundle) -> Bundle:
    """Another folder with the same parts."""
    return Bundle(Path(shutil.copytree(bundle.path, store.folder("2" * 16))))


def test_missing_heads_come_from_the_bundle_with_the_same_parts(
    store: Store, old: Bundle, new: Bundle
) -> None:
    version = write_random(old, "gate", 0)
    own = write_random(new, "post", 1)
    write_random(old, "post", 2)
    (store.folder("3" * 16)).mkdir()  # a download that has just begun
    take_over_heads(store, new, ("default", "gate", "post", "nowhere"))
    assert head_names(new) == ("default", "gate", "post")
    assert live_version(new, "gate") == version
    assert live_version(new, "post") == own


def test_heads_of_other_parts_are_not_taken(store: Store, old: Bundle) -> None:
    other = make_bundle(store.folder("4" * 16), seed=9)
    write_random(old, "gate", 0)
    take_over_heads(store, other, ("gate",))
    assert head_names(other) == ("default",)
    with pytest.raises(BundleError, match="other parts"):
        copy_head(old, "gate", other)


def test_a_damaged_head_is_left_out(
    store: Store, old: Bundle, new: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    write_random(old, "gate", 0)
    (current_folder(old, "gate") / TENSORS).write_bytes(b"cut")
    take_over_heads(store, new, ("gate",))
    assert head_names(new) == ("default",)
    assert not list((new.path / FOLDER).glob("*/*"))
    assert "head gate is not taken over" in caplog.text
