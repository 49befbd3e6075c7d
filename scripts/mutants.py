"""Plant errors in four rooms, one at a time, and count those that tests notice: `make mutants`.

    python scripts/mutants.py [mutants in all] [seed]

mutmut changes functions of the rooms in a copy under ``mutants/``, and runs for each change the
tests that reach the function. A seeded sample of all changes is tried, equally many in each room:
the same code and seed give the same sample. What survives is printed as a diff, for a person to
judge: some changes alter nothing that could be seen.
"""

import random
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from multiprocessing import cpu_count
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("protocol", "node", "aggregator", "bundle")
NOTICED = frozenset({"killed", "timeout", "segfault"})
CODE = "devit_iot"


def leave_the_installed_package() -> None:
    """Make Python import the changed copy, and give that our C++ module."""
    module = find_spec(f"{CODE}._core")
    if module is None or module.origin is None:
        sys.exit("mutants: the C++ module is not built: make build")
    copy = ROOT / "mutants" / CODE / Path(module.origin).name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(module.origin, copy)
    sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in repr(finder)]
    for name in [name for name in sys.modules if name.split(".")[0] == CODE]:
        del sys.modules[name]


def plant() -> dict[str, list[str]]:
    """Write the copy that holds every change; the changes' names, by room."""
    from mutmut import __main__ as mutmut
    from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir

    with redirect_stdout(StringIO()):
        copy_src_dir()
        copy_also_copy_files()
        mutmut.create_mutants(cpu_count())
    return {room: sorted(verdicts(room)) for room in ROOMS}


def verdicts(room: str) -> dict[str, str]:
    """What became of each change in ``room``."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.stats import status_by_exit_code

    found: dict[str, str] = {}
    for path in sorted(Path(CODE, room).glob("*.py")):
        data = SourceFileMutationData(path=path)
        data.load()
        found |= {name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items()}
    return found


def report(sample: dict[str, list[str]], planted: dict[str, list[str]], seed: int) -> None:
    """Print what survived, then a line for each room."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    lines = []
    for room, names in sample.items():
        became = verdicts(room)
        counts = Counter(became[name] for name in names)
        for name in names:
            if became[name] not in NOTICED:
                print(f"{became[name]}: {name}\n{get_diff_for_mutant(name)}\n")
        noticed = sum(counts[status] for status in NOTICED)
        told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        lines.append(
            f"{room:12}{noticed:4} of {len(names)} noticed of {len(planted[room])} ({told})"
        )
    print("\n".join(lines), f"\nseed {seed}")


def main(arguments: Sequence[str]) -> None:
    if find_spec("mutmut") is None:
        sys.exit("mutants: mutmut is missing: pip install -e '.[mutants]'")
    in_all, seed = (int(argument) for argument in (*arguments, *("120", "1")[len(arguments) :]))
    leave_the_installed_package()
    from mutmut.__main__ import run

    planted = plant()
    draw = random.Random(seed)
    each = -(-in_all // len(ROOMS))
    sample = {room: draw.sample(names, min(each, len(names))) for room, names in planted.items()}
    run([name for names in sample.values() for name in names], standalone_mode=False)
    report(sample, planted, seed)


if __name__ == "__main__":
    main(sys.argv[1:])
