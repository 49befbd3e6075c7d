"""A bundle again, its matrices stored in fewer or more bits. Needs numpy only, no torch."""

from pathlib import Path

from devit_iot.bundle.reading import Bundle, Part
from devit_iot.bundle.storage import Storage, as_stored
from devit_iot.bundle.writing import PartData, write_bundle
from devit_iot.export.reference import with_golden


def quantize_bundle(source: Bundle, storage: Storage, output: Path) -> Bundle:
    """Write ``source`` with all parts stored as ``storage``.

    Golden features are made again, in float64 from the rounded numbers. The fusion stays: what
    stands in for a lost part is a mean over the training images, which a bundle does not hold, and
    rounding hardly moves a mean.

    Args:
        source: the bundle to read, part by part.
        storage: dtype in which matrices are stored.
        output: the new bundle's folder, to be created.

    Raises:
        BundleError: ``output`` exists already, or a number is too large for float16.
    """
    manifest = source.manifest
    return write_bundle(
        output,
        name=manifest.name,
        classes=manifest.classes,
        parts=[_stored(source.read_part(i), storage) for i in range(len(manifest.parts))],
        fusion=source.fusion_tensors(),
        provenance={**manifest.provenance, "stored_again": f"from {manifest.fingerprint}"},
    )


def _stored(part: Part, storage: Storage) -> PartData:
    weights = {tensor.name: part.tensors[tensor.name] for tensor in part.spec.tensors()}
    rounded = as_stored(part.spec, weights, storage)
    golden = with_golden(part.spec, rounded, part.tensors["golden.image"])
    return PartData(part.spec, part.entry.classes, golden, storage)
