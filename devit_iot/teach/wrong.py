"""The pictures that were given another class, to be looked at."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.datasets.source import ImageSource
from devit_iot.engine.image import load_image
from devit_iot.errors import DataError, ImageError
from devit_iot.teach.result import TeachResult


class WrongPicture(NamedTuple):
    """A picture that was given another class.

    Attributes:
        pixels: uint8[size, size, 3].
        true: the class that it is of.
        given: the class that it was given.
        confidence: the probability of that class.
    """

    pixels: NDArray[np.uint8]
    true: str
    given: str
    confidence: float


def wrong_pictures(
    result: TeachResult, source: ImageSource, spec: SubVitSpec, most: int
) -> list[WrongPicture]:
    """The surest of the wrong answers, with the pixels that a part of shape ``spec`` sees.

    A picture that cannot be read any more is left out.
    """
    place = {name: index for index, name in enumerate(source.names)}
    found = []
    for wrong in result.wrong[:most]:
        index = place[wrong.picture]
        try:
            pixels = load_image(source.sample(index).payload, spec)
        except (DataError, ImageError):
            continue
        true = source.classes[source.labels[index]]
        found.append(WrongPicture(pixels, true, wrong.given, wrong.confidence))
    return found
