"""The releases of a fleet with a hub, as ``devit top`` draws them."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from devit_iot.cli.cells import number, text
from devit_iot.monitor.releases import MemberView, ReleasesView

_ROWS = 200
_HEADINGS = ("member", "part", "release", "state", "serves")
_STATE_STYLES = {"ACTIVATED": "green", "TERMINATED": "red"}


def render_releases(releases: ReleasesView) -> list[RenderableType]:
    """The hub's line and its members; nothing of a fleet without a hub."""
    if releases.hub is None and not releases.members:
        return []
    return [Group(_head(releases), _members(releases), *_errors(releases))]


def _head(releases: ReleasesView) -> Text:
    hub = releases.hub
    head = Text("\n")
    if hub is None:
        head.append("hub: nothing is known of it", style="yellow")
    elif hub.state != "online":
        head.append("hub offline: nothing is given out and nothing moves", style="red")
    else:
        head.append(f"hub: {hub.release_summary or 'nothing was pushed yet'}")
        if hub.paused:
            head.append(" paused", style="yellow")
    head.append(f"\nrelease {releases.current or 'none'}")
    if releases.coming:
        how = "on trial" if releases.activate else "coming"
        percent = "" if hub is None or hub.update_percentage is None else hub.update_percentage
        head.append(f", {releases.coming} {how}" + (f", {percent} %" if percent != "" else ""))
    if releases.canary:
        head.append(f", canary {text(releases.canary)}", style="yellow")
    return head


def _members(releases: ReleasesView) -> Table:
    table = Table(box=None, pad_edge=False, title="\nreleases", title_justify="left")
    for heading in _HEADINGS:
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    for member in releases.members[:_ROWS]:
        state = Text(member.state, style=_STATE_STYLES.get(member.state, ""))
        if member.state == "DOWNLOADING":
            state.append(f" {100 * member.progress:.0f} %")
        serves = Text(number(member.serving or None))
        if member.trial:
            serves.append(" on trial", style="yellow")
        part = Text(_part(member))
        table.add_row(
            Text(text(member.name)), part, Text(number(member.release or None)), state, serves
        )
    return table


def _part(member: MemberView) -> str:
    return member.duty if member.part is None else number(member.part)


def _errors(releases: ReleasesView) -> list[Text]:
    """A line for each member that failed: a column would be too narrow."""
    return [
        Text(f"{text(member.name)}: {member.error}", style="red")
        for member in releases.members[:_ROWS]
        if member.error
    ]
