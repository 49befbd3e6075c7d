"""The documents of the project."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


FOLDERS = (
    ".",
    "docs",
    "broker",
    "firmware_configs",
    "devit_iot/dashboard/vendor",
    "devit_iot/demo",
    "benchmarks",
)


DOCUMENTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))


def without_fences(text: str) -> str:
    return re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL)
