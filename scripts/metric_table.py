"""Write the table of docs/metrics.md from the registry of metrics: `make format`.

python scripts/metric_table.py [--check]
"""

from pathlib import Path

from generated import update

from devit_iot.service.durations import BOUNDS_S
from devit_iot.service.metrics import rows

DOCUMENT = Path(__file__).parent.parent / "docs" / "metrics.md"


def table() -> str:
    """A line for each metric."""
    lines = ["| metric | type | labels | |", "| --- | --- | --- | --- |"]
    for row in rows():
        labels = ", ".join(f"`{label}`" for label in row.labels)
        lines.append(f"| `{row.name}` | {row.kind} | {labels} | {row.help} |")
    return "\n".join(lines)


def bounds() -> str:
    """The buckets of the histograms."""
    return "Buckets of the histograms, in seconds: " + ", ".join(f"{s:g}" for s in BOUNDS_S) + "."


if __name__ == "__main__":
    update(DOCUMENT, {"metrics": table, "buckets": bounds})
