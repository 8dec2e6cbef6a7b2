"""The models of one directory: saves tensors, loads trained models. Any number of processes may use it at once.

Only processes that train or predict need this module. The modules beside it (states, files, gate) need no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson
import safetensors.torch
import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError

from services.predictor.registry import model_files, state_file, transitions
from services.predictor.registry.states import ChangeRequest
from shared.errors import ConfigError
from shared.records import reason_of

Tensors = dict[str, torch.Tensor]
D = TypeVar("D", bound=BaseModel)
T = TypeVar("T")


class Registry(Generic[D, T]):
    """`describe`: type of the description. `build` makes a model of version, description and tensors; it raises
    ConfigError if they do not fit each other."""

    def __init__(self, directory: Path, describe: type[D], build: Callable[[str, D, Tensors], T]) -> None:
        self.directory = directory
        self._describe = describe
        self._build = build

    def save(
        self,
        description: D,
        last_day: str,
        tensors: Mapping[str, torch.Tensor],
        change_request: ChangeRequest,
        pictures: Mapping[str, bytes] | None = None,
    ) -> str:
        """Saves a model as a candidate and returns its version. Saving the same model again changes nothing.

        `last_day`: the last day of all its data, validation included (2026-01-31).
        """
        weights = safetensors.torch.save({name: _contiguous_copy(value) for name, value in tensors.items()})
        body: dict[str, Any] = orjson.loads(description.model_dump_json())
        return transitions.add(self.directory, last_day, body, weights, pictures or {}, change_request)

    def load(self, version: str) -> T:
        """Raises ConfigError if the model is absent, damaged or not from Headrace. Executes nothing of it."""
        digest = state_file.read(self.directory).digests.get(version)
        files = model_files.get(self.directory, version, digest)
        directory = self.directory / version
        try:
            description = self._describe.model_validate_json(orjson.dumps(files.description))
        except ValidationError as error:
            raise ConfigError(
                f"{directory / model_files.MODEL} was made by another version of Headrace: {reason_of(error)};"
                " train again"
            ) from error
        try:
            tensors = safetensors.torch.load(files.weights)
        except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
            raise ConfigError(
                f"{directory / model_files.WEIGHTS} has no valid weights: {str(error).splitlines()[0]}; train again"
            ) from error
        return self._build(version, description, tensors)

    def live(self) -> T | None:
        """The live model, or None. Raises ConfigError if it cannot be used."""
        version = state_file.read(self.directory).live
        return None if version is None else self.load(version)

    def shadows(self) -> dict[str, T | ConfigError]:
        """By version. A shadow that cannot be used is given as its error, so that the others still run."""
        return {version: self._load_or_error(version) for version in state_file.read(self.directory).shadows}

    def changed_ns(self) -> int | None:
        """Time of the last change of any state in ns, cheap enough to call every second; None if there was none."""
        return state_file.changed_ns(self.directory)

    def _load_or_error(self, version: str) -> T | ConfigError:
        try:
            return self.load(version)
        except ConfigError as error:
            return error


def _contiguous_copy(value: torch.Tensor) -> torch.Tensor:
    """A contiguous copy in main memory that shares no storage, as the format requires."""
    return value.detach().cpu().contiguous().clone()
