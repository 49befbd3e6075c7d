"""Cameras of which every image gets its label."""

from devit_iot.config.config import ImagesConfig

EVERY = (ImagesConfig("cameras/{camera}/image", delivery="every"),)


TOPIC = "cameras/door/image"
