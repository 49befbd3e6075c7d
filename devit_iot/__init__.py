"""Decompose a large Vision Transformer into small ones and run them together over MQTT."""

try:
    from devit_iot._version import __version__
except ModuleNotFoundError:  # a source tree that was never built
    __version__ = "0.1.0.dev0"

__all__ = ["__version__"]
