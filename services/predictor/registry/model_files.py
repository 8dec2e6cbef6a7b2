"""Reads and writes a model's files: `<models>/<version>/model.json`, `weights.safetensors`, pictures. Needs no torch.

A version is the last day of the model's data and a hash of its content, weights included. The same training gives the
same version, and a changed or truncated file is refused. Nothing of a model is executed: safetensors hold numbers only.
A model is written to a temporary directory, which is then renamed: a reader sees the whole model or nothing.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from services.predictor.registry.state_file import sync_directory, write
from shared.errors import ConfigError

FORMAT = "headrace-model/2"
OLDER_FORMATS = re.compile(r"headrace-model/[01]")
MODEL, WEIGHTS = "model.json", "weights.safetensors"
VERSION_PATTERN = r"^[0-9]{8}-[0-9a-f]{8}$"
PICTURE_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,59}$"
# An ensemble of ten has about 20 MB of weights and 1 MB of description.
MAX_MODEL_BYTES, MAX_WEIGHTS_BYTES, MAX_PICTURE_BYTES = 16 << 20, 512 << 20, 4 << 20
_TEMPORARY = ".making-"
_PNG = b"\x89PNG\r\n\x1a\n"
# First bytes of Python pickles and of torch's own files (a zip that contains a pickle).
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


class ModelFiles(NamedTuple):
    """A complete model: its description as parsed JSON, and its weights."""

    version: str
    description: dict[str, Any]
    weights: bytes


def put(
    models_dir: Path, last_day: str, description: Mapping[str, Any], weights: bytes, pictures: Mapping[str, bytes]
) -> str:
    """Writes a model and returns its version. Keeps a complete model of that version. Call only under the lock.

    Raises ConfigError if a picture is not valid.
    """
    body: dict[str, Any] = {
        "format": FORMAT,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "description": description,
    }
    version = _version(last_day, body)
    _remove_leftovers(models_dir)
    making = models_dir / f"{_TEMPORARY}{version}"
    making.mkdir(parents=True)
    try:
        write(making / WEIGHTS, weights)
        document = {"version": version, "last_day": last_day, **body}
        write(making / MODEL, orjson.dumps(document, option=orjson.OPT_INDENT_2))
        for name, picture in pictures.items():
            write(making / _picture_file(name, picture), picture)
        sync_directory(making)
        if not _is_whole(models_dir, version):
            shutil.rmtree(models_dir / version, ignore_errors=True)
            making.rename(models_dir / version)
            sync_directory(models_dir)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return version


def get(models_dir: Path, version: str, digest: str | None = None) -> ModelFiles:
    """`digest`: the recorded SHA-256 of its content, if there is one.

    Raises ConfigError that says what to do if the model is absent, damaged, changed or not from Headrace.
    """
    described = body_of(models_dir, version)
    if digest is not None and digest_of(described) != digest:
        raise ConfigError(
            f"{models_dir / version / MODEL} was replaced: the SHA-256 of its content is not the recorded one; restore"
            " a copy, or delete the model and train again"
        )
    weights = _read_bounded(models_dir / version / WEIGHTS, MAX_WEIGHTS_BYTES)
    if weights.startswith(_PICKLES):
        raise ConfigError(
            f"{models_dir / version / WEIGHTS} is a pickle, which could run any code when loaded: refused; train again"
        )
    if hashlib.sha256(weights).hexdigest() != described.get("weights_sha256"):
        raise ConfigError(
            f"{models_dir / version / WEIGHTS} is damaged: its SHA-256 is not the one in {MODEL}; restore a copy, or"
            " train again"
        )
    return ModelFiles(version, described["description"], weights)


def body_of(models_dir: Path, version: str) -> dict[str, Any]:
    """The whole of model.json, checked against its version; does not read the weights. Raises ConfigError."""
    if not re.fullmatch(VERSION_PATTERN, version):
        raise ConfigError(f"expected a model version like 20260131-0a1b2c3d, got {version[:60]!r}")
    file = models_dir / version / MODEL
    try:
        body: dict[str, Any] = orjson.loads(_read_bounded(file, MAX_MODEL_BYTES))
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{file} is damaged: not valid JSON ({error}); restore a copy or train again") from error
    file_format = body.get("format") if isinstance(body, dict) else None
    if isinstance(file_format, str) and OLDER_FORMATS.fullmatch(file_format):
        raise ConfigError(
            f"{file} was made by an older version of Headrace ({file_format}, expected {FORMAT}); train again"
        )
    if file_format != FORMAT or not isinstance(body.get("description"), dict):
        raise ConfigError(
            f"{file} is not a Headrace model: expected format {FORMAT!r}, got {file_format!r}; train a model here"
        )
    actual_version = _version(str(body.get("last_day")), body)
    if actual_version != version or body.get("version") != version:
        raise ConfigError(
            f"{file} was changed: its content is version {actual_version}, not {version}; restore a copy or train again"
        )
    return body


def versions(models_dir: Path) -> list[str]:
    """Versions of all directories named like a model, newest data first."""
    try:
        names = [path.name for path in models_dir.iterdir()]
    except FileNotFoundError:
        return []
    return sorted((name for name in names if re.fullmatch(VERSION_PATTERN, name)), reverse=True)


def exists(models_dir: Path, version: str) -> bool:
    return re.fullmatch(VERSION_PATTERN, version) is not None and (models_dir / version).is_dir()


def remove(models_dir: Path, version: str) -> None:
    """Call only under the lock. Renames before deleting: a reader sees the whole model or nothing."""
    _remove_leftovers(models_dir)
    temporary = models_dir / f"{_TEMPORARY}{version}"
    (models_dir / version).rename(temporary)
    sync_directory(models_dir)
    shutil.rmtree(temporary)


def pictures(models_dir: Path, version: str) -> list[str]:
    """Names of the pictures, without .png."""
    try:
        names = [path.name for path in (models_dir / version).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(
        name.removesuffix(".png")
        for name in names
        if name.endswith(".png") and re.fullmatch(PICTURE_PATTERN, name.removesuffix(".png"))
    )


def picture(models_dir: Path, version: str, name: str) -> bytes | None:
    """A PNG; None if there is no such picture. Raises ConfigError if the file is not a valid picture."""
    if name not in pictures(models_dir, version):
        return None
    content = _read_bounded(models_dir / version / f"{name}.png", MAX_PICTURE_BYTES)
    _picture_file(name, content)
    return content


def digest_of(body: Mapping[str, Any]) -> str:
    """The SHA-256 of a model's content in hex: of its description, and of the digest of its weights."""
    content = {name: value for name, value in body.items() if name not in {"version", "last_day"}}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _version(last_day: str, body: Mapping[str, Any]) -> str:
    return f"{last_day.replace('-', '')}-{digest_of(body)[:8]}"


def _is_whole(models_dir: Path, version: str) -> bool:
    try:
        get(models_dir, version)
    except ConfigError:
        return False
    return True


def _remove_leftovers(models_dir: Path) -> None:
    """Deletes what killed processes left. Call only under the lock, when no other process is writing."""
    for leftover in models_dir.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _picture_file(name: str, content: bytes) -> str:
    if not re.fullmatch(PICTURE_PATTERN, name) or not content.startswith(_PNG) or len(content) > MAX_PICTURE_BYTES:
        raise ConfigError(f"{name[:60]!r} is not a picture: expected a PNG of at most {MAX_PICTURE_BYTES >> 20} MiB")
    return f"{name}.png"


def _read_bounded(file: Path, max_bytes: int) -> bytes:
    """Reads a regular file (no link, no device) of bounded size."""
    try:
        status = file.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{file} is not a regular file; replace it with a copy, or train again")
        if status.st_size > max_bytes:
            raise ConfigError(
                f"{file} is too big for a model: {status.st_size} bytes, at most {max_bytes}; train again"
            )
        with file.open("rb") as opened:
            return opened.read(max_bytes)
    except OSError as error:
        raise ConfigError(f"cannot read {file} of the model: {error.strerror}; train again") from error
