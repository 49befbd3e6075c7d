"""Which heads answer for which camera."""

import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from devit_iot.bundle.head import check_head_name
from devit_iot.config.crops import HeadCrops, LookRule, camera_crops, camera_looks, check_heads
from devit_iot.errors import ConfigError
from devit_iot.protocol.crop import OTHERS, CameraCrops, Crop, CropOrder, CropPlan
from devit_iot.protocol.label import DEFAULT_HEAD
from devit_iot.protocol.topics import ImageFilter


class FilterHeads(NamedTuple):
    """What is said of the heads of one filter of images.

    Attributes:
        topic: the filter.
        head: name of the main head; empty for the first of ``heads``.
        heads: names of the others, or of all.
    """

    topic: str
    head: str
    heads: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, the main one first; ``default`` where nothing is said."""
        return (*filter(None, (self.head,)), *self.heads) or (DEFAULT_HEAD,)


class HeadChoice:
    """The heads of every camera.

    What is said of a camera by its name goes first. Then comes a filter of images that names one
    camera, then those with wildcards, which all have the same heads.

    Args:
        by_camera: names of heads by the name of a camera.
        filters: filters of images, with their heads.
        crops: rectangles that heads look at, by the name of a camera or ``*`` for all others.

    Raises:
        ConfigError: a head cannot be called so, is named twice for a camera, or it is not clear
            which heads a camera has.
    """

    def __init__(
        self,
        by_camera: Mapping[str, tuple[str, ...]],
        filters: Sequence[FilterHeads],
        crops: Mapping[str, HeadCrops] = MappingProxyType({}),
    ) -> None:
        self._by_camera = dict(by_camera)
        self._crops = crops
        self._others: tuple[str, ...] = (DEFAULT_HEAD,)
        single = {entry: ImageFilter(entry.topic).only_camera for entry in filters}
        wild = [entry for entry, camera in single.items() if camera is None]
        for one, two in itertools.pairwise(wild):
            if one.names != two.names:
                raise ConfigError(
                    f"images: '{one.topic}' and '{two.topic}' have different heads, and a "
                    "camera's name does not tell which of the two its images came by; give filters "
                    "with wildcards the same heads, and single cameras theirs in [heads]"
                )
        for entry, camera in single.items():
            if camera is None:
                self._others = entry.names
            else:
                self._by_camera.setdefault(camera, entry.names)
        for names in (self._others, *self._by_camera.values()):
            for name in names:
                check_head_name(name)
            if not names or len(set(names)) < len(names):
                raise ConfigError(f"heads {list(names)} are none, or one is named twice")
        self.plan()

    @property
    def names(self) -> tuple[str, ...]:
        """Every head that some camera may need, each once."""
        chosen = (self._others, *self._by_camera.values())
        return tuple(dict.fromkeys(name for names in chosen for name in names))

    def of(self, camera: str) -> tuple[str, ...]:
        """The heads of ``camera``, at least one; the first is its main one."""
        return self._by_camera.get(camera, self._others)

    def crop(self, camera: str, head: str, taught: Crop | None = None) -> Crop | None:
        """The rectangle of the camera's images that a head looks at; None: the whole image.

        What the file says goes before ``taught``, the one that the head was taught on.
        """
        config = self._crops_of(camera).get(head)
        return taught if config is None else config.crop

    def looks(self, camera: str) -> dict[Crop, LookRule]:
        """The rectangles of a camera that are looked at when the aggregator says so."""
        return camera_looks(camera, self._crops_of(camera))

    @property
    def looks_anywhere(self) -> bool:
        """Whether some camera has such a rectangle."""
        return any(self.looks(camera) for camera in self._crops)

    def plan(self, taught: Mapping[str, Crop] = MappingProxyType({})) -> CropPlan:
        """What nodes compute: nothing is said if every head looks at whole images.

        Args:
            taught: rectangles that heads were taught on, by head.

        Raises:
            ConfigError: a camera has too many rectangles, or one of a head that it has not.
        """
        if not self._crops and not taught:
            return CropPlan()
        cameras = dict.fromkeys((*self._by_camera, *self._crops, OTHERS))
        return CropPlan(cameras={camera: self._camera(camera, taught) for camera in cameras})

    def _camera(self, camera: str, taught: Mapping[str, Crop]) -> CameraCrops:
        heads, said = self.of(camera), self._crops_of(camera)
        if camera in self._crops:
            check_heads(camera, heads, said)
        orders = {head: CropOrder(*taught[head]) for head in heads if head in taught}
        orders |= {head: said[head].order for head in heads if head in said}
        return camera_crops(camera, heads, orders, camera_looks(camera, said))

    def _crops_of(self, camera: str) -> HeadCrops:
        named = self._crops.get(camera)
        return self._crops.get(OTHERS, {}) if named is None else named
