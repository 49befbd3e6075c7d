"""What the documents say of one another and of the programs' messages."""

import re
from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS, ROOT, without_fences


def anchors(text: str) -> set[str]:
    """The headings' anchors, by GitHub's rule; the site's are the same."""
    headings = re.findall(r"^#+ (.+)$", without_fences(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_anchors_are_headings(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_fences(path.read_text())):
        file, mark, anchor = target.partition("#")
        if mark and "://" not in target:
            linked = path.parent / file if file else path
            assert anchor in anchors(linked.read_text()), target


def test_the_research_page_repeats_what_the_results_say() -> None:
    research = " ".join((ROOT / "docs/research.md").read_text().split())
    results = (ROOT / "docs/results.md").read_text()
    compared = set()
    for section in re.split(r"^## ", results, flags=re.MULTILINE):
        name = re.split(r"[,\s]", section)[0]
        rows = re.findall(r"^\| (\w[^|,]*).*?\|(?:.*?\|){3} ([\d.]+) % \|", section, re.MULTILINE)
        accuracy = {what.strip(): float(top1) for what, top1 in rows}
        if "teacher" in accuracy:
            compared.add(name)
            teacher, single, fleet = (
                accuracy[what] for what in ("teacher", "one small ViT", "fleet of 4")
            )
            (lost,) = re.findall(r"^\| 1 \| ([\d.]+) %", section, re.MULTILINE)
            assert f"[{teacher - fleet:.1f} points]" in research, name
            assert f"{fleet - single:+.1f} points on {name}" in research
            assert f"{float(lost) - fleet:+.1f} points on {name}" in research
    (ratios,) = re.findall(
        r"^\| imagenet-vit-l.*\| ([\d.]+) \| ([\d.]+) \|$", results, re.MULTILINE
    )
    assert all(ratio in research for ratio in ratios)
    assert {"CIFAR-100", "Flowers-102"} <= compared


REASONS = (
    "not authorized",
    "retain not supported",
    "qos not supported",
    "use another server",
    "receive maximum exceeded",
    "Connection refused",
    "Connection reset by peer",
    "Name or service not known",
    "Permission denied",
    "Address already in use",
    "address already in use",
    "certificate is not valid for",
    r"(?:SSL|TLS)V\d+_ALERT\w+",
)
"""What brokers and systems give as reasons."""

FOREIGN = ("Error: Address already in use", "Unable to open acl_file", "CMake Error", "pip install")
"""What mosquitto, CMake and pip say."""


def test_quoted_messages_are_those_of_the_code() -> None:
    files = [
        *(ROOT / "devit_iot").rglob("*.py"),
        *(ROOT / "csrc").rglob("*.cc"),
        *(ROOT / "devit_iot/dashboard/app").rglob("*.js"),
        ROOT / "Makefile",
    ]
    code = " ".join(re.sub(r'"\s*\n\s*f?"', "", file.read_text()) for file in files)
    document = " ".join((ROOT / "docs/troubleshooting.md").read_text().split())
    quoted = [message for bold in re.findall(r"- (\*\*`.*?)<br>", document)
              for message in re.findall(r"\*\*`([^`]+ [^`]+)`\*\*", bold)]  # fmt: skip
    assert len(quoted) >= 20
    for message in quoted:
        if not any(text in message for text in FOREIGN):
            variable = rf"{'|'.join(REASONS)}|…|^refused \w+ \w+|webcam \d+|\d+|'[^']*'|[():;]|mqtts?://\S+|\.\.\."
            fixed = re.split(variable, message)
            fixed = [piece.strip() for piece in fixed if len(piece.strip()) >= 9]
            assert fixed, message
            assert [piece for piece in fixed if piece not in code] == [], message
