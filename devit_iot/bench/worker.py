"""One engine alone in a process, so that its memory and its start are its own.

Reads lines of JSON: first a :class:`devit_iot.bench.runners.Job`, then anything, once for each
inference. Answers each with a line: the first one with the feature and the engine's detail, the
others with the seconds that the inference took, and those of CPU time. Ends with its input.
"""

import json
import os
import sys
import time

from devit_iot.bench.runners import Job, open_model


def main() -> None:
    """Serve standard input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # engines print what they like
    opened = open_model(Job(**json.loads(sys.stdin.readline())))
    first = {"feature": opened.run().tolist(), "detail": opened.detail}
    print(json.dumps(first), file=answers, flush=True)
    for _ in sys.stdin:
        begin, cpu = time.perf_counter(), time.process_time()
        opened.run()
        spent = time.process_time() - cpu
        print(time.perf_counter() - begin, spent, file=answers, flush=True)


if __name__ == "__main__":
    main()
