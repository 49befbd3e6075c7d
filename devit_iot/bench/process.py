"""The parent's side of a worker: starts it, times its start, lets it run, weighs it."""

import json
import os
import re
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Self, cast

import numpy as np
from numpy.typing import NDArray

from devit_iot.bench.runners import Job
from devit_iot.errors import EngineError
from devit_iot.programs import own_program

_PATIENCE_S = 10.0


class Worker:
    """A process that holds one engine with one model.

    Attributes:
        cold_start_s: time from starting the process to its first feature.
        feature: the feature of the job's image, float32[feature_dim].
        detail: what the engine chose.

    Raises:
        EngineError: the engine failed; its last words are in the message.
    """

    def __init__(self, job: Job) -> None:
        self._engine = job.engine
        self._runs, self._spent = 0, 0.0
        self._words = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        threads = {"OMP_NUM_THREADS": str(job.threads), "OPENBLAS_NUM_THREADS": "1"}
        begin = time.perf_counter()
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            own_program("devit_iot.bench.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            env={**os.environ, **threads},
        )
        self._stdin = cast("IO[str]", self._process.stdin)
        self._stdout = cast("IO[str]", self._process.stdout)
        try:
            first = json.loads(self._ask(json.dumps(job._asdict())))
        except BaseException:  # a person who gives up ends the process too
            self.close()
            raise
        self.cold_start_s = time.perf_counter() - begin
        self.feature: NDArray[np.float32] = np.array(first["feature"], np.float32)
        self.detail: str = first["detail"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self) -> float:
        """Compute the image once; the seconds that took, inside the process."""
        seconds, spent = map(float, self._ask("run").split())
        self._runs += 1
        self._spent += spent
        return seconds

    def cpu_ms(self) -> float:
        """Mean CPU time of the process for one of these images, all its threads together."""
        return 1e3 * self._spent / max(1, self._runs)

    def resident_mb(self) -> float:
        """Memory of the process that is in RAM now, in millions of bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (kibibytes,) = re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        return int(kibibytes) * 1024 / 1e6

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()
        self._words.close()

    def _ask(self, line: str) -> str:
        try:
            self._stdin.write(line + "\n")
            self._stdin.flush()
            answer = self._stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            code = self._process.wait()
            self._words.seek(0)
            words = self._words.read().split("\n")
            last = next((word for word in reversed(words) if word.strip()), f"exit code {code}")
            raise EngineError(f"{self._engine} failed: {last.strip()}")
        return answer
