"""A trained fleet against its bundle: fold, write, read, run an engine, fuse."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from devit_iot.bundle.reading import Bundle
from devit_iot.bundle.spec import BlockSpec, ConvSpec, SubVitSpec
from devit_iot.bundle.storage import Storage
from devit_iot.bundle.writing import write_bundle
from devit_iot.decompose.network.fleet import Fleet, FusionHead
from devit_iot.decompose.network.models import Classifier, SubVit
from devit_iot.decompose.stages.export import (
    Exported,
    Folding,
    export_classifier,
    export_fleet,
    published,
    state_float64,
)
from devit_iot.engine.base import load_engine
from devit_iot.engine.fusion import Fusion
from devit_iot.errors import BundleError
from devit_iot.export.fold import F64, Normalisation, fold_sub_vit

CLASSES = 5
GROUPS = ((0, 3), (1,), (2, 4))
NORMALISATION = Normalisation((0.48, 0.45, 0.41), (0.23, 0.22, 0.27))
TEMPERATURE = 1.7
TOLERANCE = 1e-4
HALF_TOLERANCE = 2e-3
"""float16 keeps 11 bits, so each weight is off by 2.4e-4 or less, and a logit adds up many."""

VITS = (
    SubVitSpec(16, 18, 4, 20, 4, 1, (BlockSpec(3, 24), BlockSpec(2, 17))),
    SubVitSpec(16, 18, 8, 12, 6, 1, (BlockSpec(1, 9),), 1e-5),
    SubVitSpec(16, 18, 2, 16, 5, 1, (BlockSpec(2, 30), BlockSpec(4, 8), BlockSpec(1, 11))),
)
DEITS = tuple(msgspec.structs.replace(spec, prefix_tokens=2) for spec in VITS)
CCTS = (
    SubVitSpec(
        16, 18, 0, 20, 4, 0, (BlockSpec(3, 24), BlockSpec(2, 17)), 1e-5,
        (ConvSpec(7, 3, 1, 1), ConvSpec(20, 3, 1, 1)),
    ),
    SubVitSpec(16, 18, 0, 12, 6, 0, (BlockSpec(1, 9),), 1e-6, (ConvSpec(12, 7, 2, 3),)),
    SubVitSpec(16, 18, 0, 16, 5, 0, (BlockSpec(2, 30), BlockSpec(4, 8)), 1e-5,
               (ConvSpec(16, 5, 1, 2),)),
)  # fmt: skip
RESIDUAL = tuple(msgspec.structs.replace(spec, residual_norm=True) for spec in CCTS)
FLEETS = {"vit": VITS, "deit": DEITS, "cct": CCTS, "cct-residual": RESIDUAL}
every_fleet = pytest.mark.parametrize("specs", FLEETS.values(), ids=FLEETS.keys())
every_engine = pytest.mark.parametrize("engine", ["native", "torch"])


def randomise(model: nn.Module, seed: int) -> None:
    """Every parameter random, biases and layer norms too; no layer blows its input up."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = parameter[0].numel() ** -0.5 if parameter.ndim in {2, 4} else 0.3
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(centre + spread * torch.randn(parameter.shape, generator=generator))


def random_images(count: int = 4) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (count, 16, 16, 3), np.uint8)


def normalised(images: NDArray[np.uint8]) -> Tensor:
    scaled = (images / 255 - np.array(NORMALISATION.mean)) / np.array(NORMALISATION.std)
    return torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy())


class TrainedFleet:
    """A random fleet in float64, and what it says of a few images."""

    def __init__(self, specs: Sequence[SubVitSpec]) -> None:
        self.parts = [SubVit(spec) for spec in specs]
        self.head = FusionHead(specs, 9, CLASSES)
        self.fleet = Fleet(self.parts, self.head).double().eval()
        randomise(self.fleet, 3)
        self.images = random_images()
        with torch.no_grad():
            output = self.fleet(normalised(self.images))
        self.tokens: tuple[Tensor, ...] = output.tokens
        self.logits: F64 = output.logits.mean(dim=1).numpy() / TEMPERATURE
        self.means = [tokens.mean(dim=0) for tokens in self.tokens]

    def without(self, lost: Sequence[int]) -> F64:
        """The logits with mean tokens in place of the parts ``lost``."""
        tokens = [
            self.means[part].expand_as(kept) if part in lost else kept
            for part, kept in enumerate(self.tokens)
        ]
        with torch.no_grad():
            scores: F64 = self.head(tokens)[0].mean(dim=1).numpy() / TEMPERATURE
        return scores

    def export(self, storage: Storage = "float32") -> Exported:
        folding = Folding(NORMALISATION, self.images[0], storage, TEMPERATURE)
        return export_fleet(self.parts, self.head, GROUPS, self.means, folding)


def write(path: Path, exported: Exported) -> Bundle:
    names = [f"class {index}" for index in range(CLASSES)]
    return write_bundle(
        path,
        name="small",
        classes=names,
        parts=exported.parts,
        fusion=exported.fusion,
        provenance={},
    )


def features(
    bundle: Bundle, images: NDArray[np.uint8], engine: str
) -> list[dict[int, NDArray[np.float32]]]:
    """Per image, each part's feature."""
    engines = [
        load_engine(bundle.read_part(part), name=engine, threads=1)
        for part in range(len(bundle.manifest.parts))
    ]
    return [{part: e.features(image) for part, e in enumerate(engines)} for image in images]


def run(
    bundle: Bundle, images: NDArray[np.uint8], engine: str, lost: Sequence[int] = ()
) -> NDArray[np.float32]:
    fusion = Fusion(bundle)
    return np.stack(
        [
            fusion.logits({part: f for part, f in found.items() if part not in lost})
            for found in features(bundle, images, engine)
        ]
    )


def error(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """The worst image's, relative."""
    gaps = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    return float(gaps.max())


@every_engine
@every_fleet
def test_the_bundle_computes_what_the_fleet_does(
    tmp_path: Path, specs: tuple[SubVitSpec, ...], engine: str
) -> None:
    trained = TrainedFleet(specs)
    bundle = write(tmp_path / "bundle", trained.export())
    assert [part.spec for part in bundle.manifest.parts] == list(specs)
    assert [part.classes for part in bundle.manifest.parts] == list(GROUPS)
    assert error(run(bundle, trained.images, engine), trained.logits) < TOLERANCE
    spread = np.linalg.norm(trained.logits - trained.logits.mean(axis=0), axis=1)
    assert (spread > 100 * TOLERANCE * np.linalg.norm(trained.logits, axis=1)).all()


@every_engine
@every_fleet
@pytest.mark.parametrize("lost", [(0,), (2,), (0, 1), (0, 1, 2)], ids=str)
def test_a_lost_part_counts_with_its_mean_tokens(
    tmp_path: Path, specs: tuple[SubVitSpec, ...], engine: str, lost: tuple[int, ...]
) -> None:
    trained = TrainedFleet(specs)
    bundle = write(tmp_path / "bundle", trained.export())
    found = run(bundle, trained.images, engine, lost)
    assert error(found, trained.without(lost)) < TOLERANCE
    assert error(found, trained.logits) > 10 * TOLERANCE


@every_engine
@every_fleet
def test_engines_publish_the_tokens_without_scale_and_shift(
    tmp_path: Path, specs: tuple[SubVitSpec, ...], engine: str
) -> None:
    trained = TrainedFleet(specs)
    found = features(write(tmp_path / "bundle", trained.export()), trained.images, engine)
    for part, model in enumerate(trained.parts):
        wanted = published(trained.tokens[part], model)
        assert error(np.stack([image[part] for image in found]), wanted) < TOLERANCE


def test_a_number_that_the_last_norm_silences_is_published_as_zero() -> None:
    trained = TrainedFleet(VITS)
    with torch.no_grad():
        trained.parts[0].norm.weight[3] = 0.0
    tokens = trained.parts[0](normalised(trained.images)).tokens.detach()
    assert not published(tokens, trained.parts[0])[:, 3].any()
    exported = trained.export()
    assert not exported.fusion["parts.0.weight"][:, 3].any()


@every_engine
@pytest.mark.parametrize("specs", FLEETS.values(), ids=FLEETS.keys())
def test_float16_stays_close(tmp_path: Path, specs: tuple[SubVitSpec, ...], engine: str) -> None:
    trained = TrainedFleet(specs)
    exact = write(tmp_path / "float32", trained.export())
    half = write(tmp_path / "float16", trained.export("float16"))
    assert [part.dtype for part in half.manifest.parts] == ["float16"] * 3
    for before, after in zip(exact.manifest.parts, half.manifest.parts, strict=True):
        assert after.weights.size < before.weights.size
    assert half.fingerprint != exact.fingerprint
    assert error(run(half, trained.images, engine), trained.logits) < HALF_TOLERANCE
    lost = run(half, trained.images, engine, [1])
    assert error(lost, trained.without([1])) < HALF_TOLERANCE


def test_float16_is_the_rounding_of_the_matrices() -> None:
    """Only what is stored differs: the golden feature belongs to the rounded matrices."""
    trained = TrainedFleet(VITS)
    exported = trained.export("float16")
    for model, part in zip(trained.parts, exported.parts, strict=True):
        folded = fold_sub_vit(model.spec, state_float64(model), NORMALISATION)
        for name, value in folded.items():
            matrix = name.startswith("blocks") and name.endswith("weight")
            wanted = value.astype(np.float16).astype(np.float32) if matrix else value
            np.testing.assert_array_equal(part.tensors[name], wanted, err_msg=name)
    assert all(value.dtype == np.float32 for value in exported.fusion.values())


def test_a_number_too_large_for_float16_is_named() -> None:
    trained = TrainedFleet(VITS)
    with torch.no_grad():
        trained.parts[1].get_parameter("blocks.0.mlp.fc2.weight")[2, 3] = 1e5
    with pytest.raises(BundleError, match=r"'blocks\.0\.mlp\.fc2\.weight' reaches 100000"):
        trained.export("float16")
    trained.export("float32")


@every_engine
@pytest.mark.parametrize(
    "spec", [VITS[0], DEITS[0], CCTS[0], RESIDUAL[0]], ids=["vit", "deit", "cct", "cct-residual"]
)
def test_a_classifier_is_a_bundle_of_one_part(
    tmp_path: Path, spec: SubVitSpec, engine: str
) -> None:
    model = Classifier(spec, CLASSES).double().eval()
    randomise(model, 4)
    images = random_images()
    with torch.no_grad():
        output = model(normalised(images))
        mean = output.tokens.mean(dim=0)
        lost = model.classify(mean[None]).mean(dim=1).numpy() / TEMPERATURE
    folding = Folding(NORMALISATION, images[0], temperature=TEMPERATURE)
    bundle = write(tmp_path / "bundle", export_classifier(model, mean, folding))
    (part,) = bundle.manifest.parts
    assert part.classes == tuple(range(CLASSES))
    wanted = output.logits.mean(dim=1).numpy() / TEMPERATURE
    assert error(run(bundle, images, engine), wanted) < TOLERANCE
    assert error(Fusion(bundle).logits({})[None], lost) < TOLERANCE


def test_the_temperature_divides_the_logits_alone(tmp_path: Path) -> None:
    trained = TrainedFleet(DEITS)
    warm = export_fleet(
        trained.parts, trained.head, GROUPS, trained.means,
        Folding(NORMALISATION, trained.images[0]),
    )  # fmt: skip
    cool = trained.export()
    for name, value in warm.fusion.items():
        np.testing.assert_allclose(cool.fusion[name] * TEMPERATURE, value, rtol=1e-5, atol=1e-7)
    first, second = (write(tmp_path / f"{k}", e) for k, e in enumerate((warm, cool)))
    assert [p.weights.sha256 for p in first.manifest.parts] == [
        p.weights.sha256 for p in second.manifest.parts
    ]
