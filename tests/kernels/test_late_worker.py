"""A loop of the thread pool does not wait for a worker that gets no core."""

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.kernels.reference import PYTHON

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17  # requests of ptrace, from <sys/ptrace.h>
WALL = 0x40000000  # waitpid waits for threads too
GUARD_S = 120.0

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long

PROGRAM = """
import os
import numpy as np
from tests.kernels.reference import random_tensors
from tests.kernels.sub_vits import UNEVEN, build, random_image, run

before = set(os.listdir("/proc/self/task"))
model = build(UNEVEN, random_tensors(UNEVEN, 0), threads=2)
print(*set(os.listdir("/proc/self/task")) - before)
image = random_image(UNEVEN, 0)
wanted = run(model, image)
while True:
    print("ready", flush=True)
    if not input():
        break
    print(np.array_equal(run(model, image), wanted), flush=True)
"""


@contextmanager
def stopped(thread: int) -> Iterator[None]:
    """One thread of a child gets no core inside the block; all others run."""
    if LIBC.ptrace(SEIZE, thread, None, None):
        pytest.skip(f"threads cannot be stopped here: ptrace: {os.strerror(ctypes.get_errno())}")
    LIBC.ptrace(INTERRUPT, thread, None, None)
    os.waitpid(thread, WALL)
    try:
        yield
    finally:
        if LIBC.ptrace(DETACH, thread, None, None):
            os.waitpid(thread, WALL)  # it was killed, and the child ends when this is known


@pytest.mark.skipif(sys.platform != "linux", reason="ptrace is Linux's")
def test_a_worker_that_gets_no_core_is_not_waited_for() -> None:
    """It takes part again as soon as it runs."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [PYTHON, "-c", PROGRAM]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        asked, answers = child.stdin, child.stdout

        def infer() -> str:
            asked.write("go\n")
            asked.flush()
            return answers.readline() + answers.readline()

        guard = threading.Timer(GUARD_S, child.kill)  # who waits for ever answers nothing
        guard.daemon = True
        guard.start()
        worker = answers.readline()
        assert answers.readline() == "ready\n"
        with stopped(int(worker)):
            assert infer() == "True\nready\n"
        assert infer() == "True\nready\n"
        asked.write("\n")
        asked.flush()
        assert child.wait(GUARD_S) == 0
        guard.cancel()
