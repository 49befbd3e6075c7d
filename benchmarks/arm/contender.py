"""Runs in the emulator: one engine, one model, one counted inference.

python contender.py JOB MARKS

JOB is a file with a :class:`devit_iot.bench.runners.Job` in JSON, MARKS is marks.c as a library.
Prints what the engine chose.
"""

import ctypes
import json
import sys
from pathlib import Path

from devit_iot.bench.runners import Job, open_model


def main() -> None:
    """Infer twice: what is only done once is not counted."""
    job, marks = sys.argv[1:]
    opened = open_model(Job(**json.loads(Path(job).read_text())))
    marker = ctypes.CDLL(marks)
    opened.run()
    marker.start_counting()
    opened.run()
    marker.stop_counting()
    print(f"chose: {opened.detail}")  # after whatever the engine had to say


if __name__ == "__main__":
    main()
