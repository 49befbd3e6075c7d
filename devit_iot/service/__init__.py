"""What node and aggregator share: status, counters, metrics, acknowledgements."""
