"""``[aggregator]``: fusion."""

import msgspec

from devit_iot.config.rules import Rules


class AggregatorConfig(msgspec.Struct, frozen=True):
    """``[aggregator]``: fusion.

    Attributes:
        shard: index of this aggregator among the fleet's ``shards``, from 0.
        deadline_s: the longest wait for the other parts after a request's first feature.
        min_deadline_s: the shortest wait for the other parts, however fast the fleet is.
        every_deadline_s: the wait for requests of ``every``, which does not adapt to the fleet.
        lifetime_s: how long a request is remembered, to tell late and duplicate features; one of
            ``every`` for broker.session_s, as long as it may be delivered again.
        max_open: requests that may wait for parts; one more answers the oldest at once.
        max_open_per_camera: requests of one camera that may wait; one more answers its oldest.
        min_parts: fewer parts make no label.
    """

    shard: int = 0
    deadline_s: float = 1.0
    min_deadline_s: float = 0.1
    every_deadline_s: float = 30.0
    lifetime_s: float = 10.0
    max_open: int = 1024
    max_open_per_camera: int = 256
    min_parts: int = 1

    def rules(self) -> Rules:
        """What must hold, and what is wrong where it does not."""
        return (
            (self.deadline_s > 0, "aggregator.deadline_s must be positive"),
            (self.min_deadline_s > 0, "aggregator.min_deadline_s must be positive"),
            (self.every_deadline_s > 0, "aggregator.every_deadline_s must be positive"),
            (self.min_parts > 0, "aggregator.min_parts must be positive"),
            (self.max_open_per_camera > 0, "aggregator.max_open_per_camera must be positive"),
            (
                self.lifetime_s >= self.deadline_s,
                "aggregator.lifetime_s must not be below aggregator.deadline_s",
            ),
            (self.max_open > 0, "aggregator.max_open must be positive"),
        )
