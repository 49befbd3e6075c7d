"""Decompose a large Vision Transformer into small ones and run them together over MQTT."""

__version__ = "0.1.0"
