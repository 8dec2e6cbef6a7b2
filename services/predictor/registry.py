"""Model files: `<models>/<version>/weights.safetensors` and `model.json`, and `LIVE`, which names the one in use.

A version is the last day of its data and a hash over everything in it, weights included, so the same training gives
the same version, and a file that was changed or cut short does not load. Every write is a rename: a reader sees all
of a model or none of it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

import orjson
import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError

from services.predictor.model import Network
from services.predictor.trained import Description, Trained
from shared.errors import ConfigError
from shared.records import reason_of

FORMAT = "headrace-model/1"
WEIGHTS, MODEL, LIVE = "weights.safetensors", "model.json", "LIVE"
_VERSION = re.compile(r"[0-9]{8}-[0-9a-f]{8}")


class Registry:
    """The models of one directory. Any number of processes may read while one writes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def save(self, description: Description, network: Network) -> str:
        """Write a model and return its version; the same model again changes nothing."""
        weights = safetensors.torch.save({name: value.contiguous() for name, value in network.state_dict().items()})
        body: dict[str, object] = {
            "format": FORMAT,
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "description": description.model_dump(mode="json"),
        }
        version = _version(description, body)
        self.directory.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=self.directory))
        try:
            making.chmod(0o755)
            _write(making / WEIGHTS, weights)
            _write(making / MODEL, orjson.dumps({"version": version, **body}, option=orjson.OPT_INDENT_2))
            self._put(making, version)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return version

    def load(self, version: str) -> Trained:
        """Raises ConfigError where the model is absent, damaged, or not one of ours."""
        directory = self.directory / version
        if not _VERSION.fullmatch(version):
            raise ConfigError(f"expected a model version like 20260131-0a1b2c3d, got {version[:60]!r}")
        try:
            body = orjson.loads((directory / MODEL).read_bytes())
            weights = (directory / WEIGHTS).read_bytes()
        except OSError as error:
            raise ConfigError(f"cannot read the model {directory}: {error.strerror}") from error
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"{directory / MODEL} is damaged: no JSON ({error})") from error
        description = _checked(directory, body, weights)
        return Trained(version, description, _network(directory, description, weights))

    def set_live(self, version: str) -> None:
        """Use this model from now on. Raises ConfigError unless it loads."""
        self.load(version)
        descriptor, name = tempfile.mkstemp(prefix=".LIVE-", dir=self.directory)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{version}\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(self.directory / LIVE)

    def live_changed_ns(self) -> int | None:
        """When the pointer was last set, cheap enough to ask every second; None: no model is live."""
        try:
            return (self.directory / LIVE).stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def live(self) -> Trained | None:
        """The live model, or None. Raises ConfigError where it cannot be used."""
        try:
            version = (self.directory / LIVE).read_text(errors="replace").strip()
        except FileNotFoundError:
            return None
        return self.load(version)

    def _put(self, making: Path, version: str) -> None:
        place = self.directory / version
        if place.exists():
            try:
                self.load(version)
            except ConfigError:
                shutil.rmtree(place)
            else:
                return
        making.rename(place)


def _version(description: Description, body: dict[str, object]) -> str:
    content = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return f"{description.last_day.replace('-', '')}-{hashlib.sha256(content).hexdigest()[:8]}"


def _checked(directory: Path, body: object, weights: bytes) -> Description:
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        found = body.get("format") if isinstance(body, dict) else None
        raise ConfigError(f"{directory / MODEL} is no model of ours: expected format {FORMAT!r}, got {found!r}")
    if hashlib.sha256(weights).hexdigest() != body.get("weights_sha256"):
        raise ConfigError(f"{directory / WEIGHTS} is damaged: its SHA-256 is not the one in {MODEL}; train again")
    try:
        description = Description.model_validate_json(orjson.dumps(body.get("description")))
    except ValidationError as error:
        raise ConfigError(f"{directory / MODEL} is damaged: {reason_of(error)}; train again") from error
    written = _version(description, {name: value for name, value in body.items() if name != "version"})
    if written != directory.name:
        raise ConfigError(f"{directory / MODEL} was changed: its content is version {written}; train again")
    return description


def _network(directory: Path, description: Description, weights: bytes) -> Network:
    network = Network(description.shape)
    try:
        network.load_state_dict(safetensors.torch.load(weights))
    except (SafetensorError, RuntimeError) as error:
        raise ConfigError(f"{directory / WEIGHTS} does not fit the network: {str(error).splitlines()[0]}") from error
    network.requires_grad_(requires_grad=False)
    return network.to(torch.float32).eval()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
