from collections.abc import Iterator

import pytest
import torch
from accelerate.state import AcceleratorState


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """These networks are tiny: more threads only wait for each other on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_precision() -> Iterator[None]:
    """A process has one precision for its whole life; here every test may choose."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
