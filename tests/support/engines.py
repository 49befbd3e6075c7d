"""Engines that misbehave."""

import threading

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.storage import Dtype


class SlowEngine:
    """Waits for permission before each inference."""

    name = "slow"
    dtype: Dtype = "float32"
    detail = ""

    def __init__(self, feature_dim: int) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self._feature_dim = feature_dim

    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        del image
        self.begun.release()
        assert self.go_on.acquire(timeout=20)
        return np.zeros(self._feature_dim, np.float32)


class BrokenEngine(SlowEngine):
    """Fails once, then computes NaN once, then works."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__(feature_dim)
        self._calls = 0

    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        del image
        self._calls += 1
        if self._calls == 1:
            raise RuntimeError("a bug")
        value = np.nan if self._calls == 2 else 1.0
        return np.full(self._feature_dim, value, np.float32)


class Gate:
    """An engine that computes while it is open."""

    name = "gate"
    dtype: Dtype = "float32"
    detail = ""

    def __init__(self, feature_dim: int) -> None:
        self.open = threading.Event()
        self._feature_dim = feature_dim

    def features(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        del image
        assert self.open.wait(20)
        return np.zeros(self._feature_dim, np.float32)
