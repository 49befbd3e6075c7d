"""What those may publish and read who teach a fleet while it runs."""

from devit_iot.protocol.topics import Topics

Filters = tuple[str, ...]


def teacher(topics: Topics) -> tuple[Filters, Filters]:
    """Filters that a person who teaches may publish to, and read beside what a dashboard reads."""
    write = (topics.teach_ask("+"), topics.heads)
    return write, (topics.teach_state, topics.teach_answer("+"), topics.aggregator_heads("+"))


def collector(topics: Topics) -> tuple[Filters, Filters]:
    """Filters that the collecting process may publish to, and read beside images."""
    write = (topics.teach_state, topics.teach_answer("+"), topics.heads)
    fleet = (topics.features("+"), topics.labels, topics.aggregator_status("+"))
    return write, (*fleet, topics.aggregator_heads("+"), topics.teach_ask("+"))


def kept(topics: Topics) -> Filters:
    """Filters of what the broker keeps of heads and of teaching, for an owner to delete."""
    return topics.heads, topics.aggregator_heads("+"), topics.teach_state
