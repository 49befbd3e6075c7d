"""Publish and subscribe: one protocol, MQTT and in-process."""
