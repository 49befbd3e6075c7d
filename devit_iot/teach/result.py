"""What teaching a head found out: the content of its report.json."""

import msgspec

from devit_iot.evaluation.lost_parts import LostParts


class ClassResult(msgspec.Struct, frozen=True):
    """One class. Shares are fractions.

    Attributes:
        name: name of the class.
        images: number of pictures.
        moments: number of moments that they were taken in.
        recall: share of them that were given this class.
        precision: share of the pictures given this class that are of it; 0 if none was.
    """

    name: str
    images: int
    moments: int
    recall: float
    precision: float


class CurvePoint(msgspec.Struct, frozen=True):
    """Accuracy that so many pictures of each class reach.

    Attributes:
        images: number of pictures of each class; a class that has fewer gives all. At the last
            point all pictures of four folds out of five were used, so many of a class on average.
        top1: accuracy as a fraction.
    """

    images: int
    top1: float


class Wrong(msgspec.Struct, frozen=True):
    """A picture that was given another class than its own.

    Attributes:
        picture: ``class/.../file.ext``.
        given: the class that it was given.
        confidence: the probability of that class.
    """

    picture: str
    given: str
    confidence: float


class TestResult(msgspec.Struct, frozen=True):
    """The head itself on the test split of the data, which entered no choice.

    Attributes:
        images: number of pictures.
        top1: accuracy as a fraction.
        lost: accuracies with 0 to 3 parts lost.
    """

    images: int
    top1: float
    lost: tuple[LostParts, ...]


class Seconds(msgspec.Struct, frozen=True):
    """Where the time went.

    Attributes:
        features: reading pictures and computing what was not in the cache.
        measure: all fits that are asked about what they did not see.
        fit: the fit of the head itself.
    """

    features: float
    measure: float
    fit: float


class TeachResult(msgspec.Struct, frozen=True):
    """Everything that ``devit teach`` reports. Accuracies are fractions.

    ``top1``, the classes, the confusion, the lost parts, the curve and the wrong pictures come
    from fits that saw neither the picture in question nor another one of its moment.

    Attributes:
        bundle: the bundle's name.
        head: the head's name.
        version: its fingerprint.
        images: pictures that it was fitted on.
        moments: number of moments that the pictures were taken in.
        unreadable: pictures that could not be read.
        repeated: pictures left out, because their bytes are those of another one.
        computed: pictures whose features were not in the cache.
        strength: inverse of the regularisation's weight.
        temperature: divisor of the scores.
        unknown: probability below which the answer is ``unknown``; 0 if none is.
        measured: number of pictures that the accuracy was measured on.
        top1: share whose most probable class is the true one.
        interval: limits between which that share lies with 95 % confidence for further pictures
            like these, low and high.
        ece: expected calibration error of the confidence, 15 bins.
        answered: share whose confidence reaches ``unknown``.
        answered_top1: share of those whose class is the true one.
        classes: one entry each.
        confusion: number of pictures by true class (row) and given class (column).
        each_lost: accuracy without part i, by i; empty for a single part.
        lost: accuracy with 0 to 3 parts lost.
        curve: accuracy over the number of pictures, ascending.
        wrong: the pictures that were given another class, the surest first.
        test: accuracy on the test split; null for data without one.
        seconds: where the time went.
    """

    bundle: str
    head: str
    version: str
    images: int
    moments: int
    unreadable: int
    repeated: int
    computed: int
    strength: float
    temperature: float
    unknown: float
    measured: int
    top1: float
    interval: tuple[float, float]
    ece: float
    answered: float
    answered_top1: float
    classes: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]
    each_lost: tuple[float, ...]
    lost: tuple[LostParts, ...]
    curve: tuple[CurvePoint, ...]
    wrong: tuple[Wrong, ...]
    test: TestResult | None
    seconds: Seconds
