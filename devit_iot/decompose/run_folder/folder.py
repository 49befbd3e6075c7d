"""The run folder: what the stages leave to each other. Files appear whole or not at all."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from devit_iot.bundle.spec import SubVitSpec
from devit_iot.decompose.network.models import Classifier
from devit_iot.errors import ConfigError, DataError

T = TypeVar("T")


class RunFolder:
    """A folder of models (safetensors, their spec in the metadata) and of JSON files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def sub(self, name: str) -> "RunFolder":
        """A folder inside."""
        return RunFolder(self.path / name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes' runs out of the folder inside the block.

        Raises:
            ConfigError: another run is in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / "lock", timeout=0):
                yield
        except Timeout as error:
            raise ConfigError(
                f"another run works in {self.path}; let it end, or choose another folder"
            ) from error

    def claim(self, content: object) -> None:
        """Tie the folder to what decides its content.

        Raises:
            ConfigError: it holds the results of something else.
        """
        path = self.path / "recipe.json"
        encoded = msgspec.json.format(msgspec.json.encode(content))
        if not path.exists():
            self._write(path, encoded)
        elif path.read_bytes() != encoded:
            raise ConfigError(
                f"{self.path} holds the run of another recipe or of other images, or of an earlier "
                "version of them; choose another folder, or remove it"
            )

    def state(self, name: str) -> Path:
        """Where the unfinished stage ``name`` keeps its state."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self.path / f"{name}.state"

    def has(self, name: str) -> bool:
        """Whether ``name``, a file's name without its suffix, was stored."""
        return any((self.path / f"{name}{suffix}").exists() for suffix in (".safetensors", ".json"))

    def store_model(self, name: str, model: Classifier) -> None:
        """Store a model's weights, shape and number of classes."""
        spec = msgspec.json.encode(model.spec).decode()
        self.store_tensors(name, model.state_dict(), {"spec": spec, "classes": str(model.classes)})

    def load_model(self, name: str, device: torch.device) -> Classifier:
        """The model ``name``, in evaluation mode.

        Raises:
            DataError: the file is missing or damaged.
        """
        tensors, metadata = self._read(name)
        try:
            spec = msgspec.json.decode(metadata["spec"], type=SubVitSpec)
            model = Classifier(spec, int(metadata["classes"]))
            model.load_state_dict(tensors)
        except (KeyError, RuntimeError, msgspec.DecodeError) as error:
            raise self._unusable(name, error) from error
        return model.to(device).eval()

    def store_tensors(
        self, name: str, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
    ) -> None:
        """Store ``tensors``; the unfinished state of the stage ``name`` is of no use any more."""
        path = self.path / f"{name}.safetensors"
        contiguous = {key: value.contiguous() for key, value in tensors.items()}
        write_whole(path, lambda partial: save_file(contiguous, partial, metadata))
        self.state(name).unlink(missing_ok=True)

    def metadata(self, name: str) -> dict[str, str]:
        """The metadata of what :meth:`store_tensors` stored.

        Raises:
            DataError: the file is missing or damaged.
        """
        try:
            with safe_open(self.path / f"{name}.safetensors", framework="pt") as file:
                return file.metadata() or {}
        except (OSError, SafetensorError) as error:
            raise self._unusable(name, error) from error

    def load_tensors(self, name: str) -> dict[str, Tensor]:
        """What :meth:`store_tensors` stored.

        Raises:
            DataError: the file is missing or damaged.
        """
        return self._read(name)[0]

    def store(self, name: str, content: object) -> None:
        """Store a struct as ``name.json``."""
        self._write(
            self.path / f"{name}.json", msgspec.json.format(msgspec.json.encode(content)) + b"\n"
        )

    def load(self, name: str, kind: type[T]) -> T:
        """Read ``name.json``.

        Raises:
            DataError: the file is missing or damaged.
        """
        path = self.path / f"{name}.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError) as error:
            raise self._unusable(path.name, error) from error

    def _read(self, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
        try:
            with safe_open(self.path / f"{name}.safetensors", framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                return tensors, file.metadata() or {}
        except (OSError, SafetensorError) as error:
            raise self._unusable(name, error) from error

    def _unusable(self, name: str, error: Exception) -> DataError:
        return DataError(
            f"'{name}' in {self.path} cannot be used ({error}); remove it and run its stage again"
        )

    def _write(self, path: Path, content: bytes) -> None:
        write_whole(path, lambda partial: partial.write_bytes(content))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name, then give it its own.

    After a power cut there is the old file or the new one.

    Raises:
        DataError: the disk is full, or cannot be written to; the old file is still there.
    """
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, SafetensorError, RuntimeError) as error:  # RuntimeError is torch.save's
        partial.unlink(missing_ok=True)
        raise DataError(
            f"{path} cannot be written ({error}); make room on the disk or correct its "
            "permissions, then run the same command again: it goes on from here"
        ) from error
