"""The run folder: what the stages leave to each other. Files appear whole or not at all."""

from pathlib import Path
from typing import TypeVar

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from devit_iot.decompose.models import Classifier
from devit_iot.errors import ConfigError, DataError
from devit_iot.spec import SubVitSpec

T = TypeVar("T")


class RunFolder:
    """A folder of models (safetensors, their spec in the metadata) and of JSON files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def sub(self, name: str) -> "RunFolder":
        """A folder inside."""
        return RunFolder(self.path / name)

    def claim(self, content: object) -> None:
        """Tie the folder to what decides its content.

        Raises:
            ConfigError: it holds the results of another recipe.
        """
        path = self.path / "recipe.json"
        encoded = msgspec.json.format(msgspec.json.encode(content))
        if not path.exists():
            self._write(path, encoded)
        elif path.read_bytes() != encoded:
            raise ConfigError(
                f"{self.path} holds the run of another recipe, or of an earlier version of this "
                "one; choose another folder, or remove it"
            )

    def state(self, name: str) -> Path:
        """Where the unfinished stage ``name`` keeps its state."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self.path / f"{name}.state"

    def has(self, name: str) -> bool:
        """Whether ``name``, a file's name without its suffix, was stored."""
        return any((self.path / f"{name}{suffix}").exists() for suffix in (".safetensors", ".json"))

    def store_model(self, name: str, model: Classifier) -> None:
        """Store weights, shape and number of classes; the stage's state is of no use any more."""
        path = self.path / f"{name}.safetensors"
        self.path.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        spec = msgspec.json.encode(model.spec).decode()
        tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
        metadata = {"spec": spec, "classes": str(model.classes)}
        save_file(tensors, partial, metadata)
        partial.replace(path)
        self.state(name).unlink(missing_ok=True)

    def load_model(self, name: str, device: torch.device) -> Classifier:
        """The model ``name``, in evaluation mode.

        Raises:
            DataError: the file is missing or damaged.
        """
        path = self.path / f"{name}.safetensors"
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                spec = msgspec.json.decode(metadata["spec"], type=SubVitSpec)
                model = Classifier(spec, int(metadata["classes"]))
                model.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, RuntimeError, msgspec.DecodeError) as error:
            raise DataError(
                f"{path} cannot be used ({error}); remove it and run its stage again"
            ) from error
        return model.to(device).eval()

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
            raise DataError(
                f"{path} cannot be used ({error}); remove it and run its stage again"
            ) from error

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(path)
