"""Draw the layers in docs/architecture.md: `make format`.

    python scripts/layers_drawing.py [--check]

The table is the one that the tests hold. With ``--check`` nothing is written, and the exit code is
1 if something would be.
"""

import sys
from pathlib import Path

from generated import update

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.layers import drawing  # noqa: E402 - of this checkout

if __name__ == "__main__":
    update(ROOT / "docs/architecture.md", {"layers": lambda: f"```text\n{drawing()}\n```"})
