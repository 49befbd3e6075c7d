"""Topics at an upper broker, which shows many cells. Normative: docs/protocol.md, section 19.

cells/<cell>/connected    1 or 0, retained: whether the cell's bridge is there; last will = 0
cells/<cell>/devit/v1/... what the cell's own broker has on devit/v1/...
"""

from devit_iot.errors import ConfigError, MessageError
from devit_iot.protocol.topics import Topics, check_name

CELLS = "cells"
ALL_CELLS = "+"
CONNECTED = b"1"


class CellTopics(Topics, frozen=True):
    """The topics of one cell at an upper broker, or filters of those of all cells.

    Attributes:
        cell: name of the cell, or ``ALL_CELLS``.

    Raises:
        ConfigError: a name is unusable.
    """

    cell: str = ALL_CELLS

    def __post_init__(self) -> None:
        check_name("fleet", self.fleet)
        if self.cell != ALL_CELLS:
            check_name("cell", self.cell)

    @property
    def prefix(self) -> str:
        """What stands before a topic of the cell's own broker."""
        return f"{CELLS}/{self.cell}/"

    @property
    def base(self) -> str:
        """What every topic of the cell's fleet begins with."""
        return f"{self.prefix}{Topics(self.fleet).base}"

    @property
    def connected(self) -> str:
        """Where the upper broker says whether the cell's bridge is there."""
        return f"{self.prefix}connected"


def answers(topics: Topics) -> tuple[str, ...]:
    """Filters of labels, which go up from a cell one by one."""
    return topics.labels, topics.head_labels


def present(topics: Topics) -> tuple[str, ...]:
    """Filters of what goes up from a cell and of which the last word alone counts."""
    return topics.states, topics.node_statuses, topics.aggregator_status("+")


def split_cell(topic: str) -> tuple[str, str]:
    """The cell in a topic at an upper broker, and the topic within the cell.

    Raises:
        MessageError: it is no topic of a cell.
    """
    first, _, rest = topic.partition("/")
    cell, _, own = rest.partition("/")
    try:
        check_name("cell", cell if first == CELLS and own else "")
    except ConfigError as error:
        raise MessageError("topic", f"no cell in topic {topic[:100]!r}") from error
    return cell, own
