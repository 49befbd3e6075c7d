"""What is on the wire: topics, messages, texts."""
