"""What the doctor found."""

from collections.abc import Iterable

from devit_iot.doctor.finding import Finding


def found(findings: Iterable[Finding]) -> dict[str, Finding]:
    """By the name of the check; what is not ``ok`` says what to do, and only that."""
    by_name = {finding.check: finding for finding in findings}
    for finding in by_name.values():
        assert bool(finding.remedy) == (finding.level != "ok"), finding
    return by_name
