"""One target under atheris: ``python -m tests.fuzz TARGET CORPUS [libFuzzer's options]``."""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["devit_iot", "msgspec", "PIL", "base64"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    name, corpus, *options = sys.argv[1:]
    target = TARGETS[name]
    folder = Path(corpus)
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *options, str(folder)], target.read)
    atheris.Fuzz()


main()
