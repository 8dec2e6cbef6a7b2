"""Small models for a registry: real tensors and a real description, but nothing that could predict."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict

from services.predictor.registry.store import Registry, Tensors
from shared.errors import ConfigError
from tests.services.predictor.model_requests import GOOD, label_of, order


class Label(BaseModel):
    """The part of a description that the registry reads, with a seed that makes models differ."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_day: str = "2031-01-01"
    last_day: str = "2031-04-30"
    events: int = 4000
    seed: int = 7
    metrics: dict[str, float] = GOOD


class SmallModel(NamedTuple):
    version: str
    label: Label
    tensors: Tensors


def build_model(version: str, label: Label, tensors: Tensors) -> SmallModel:
    if "weight" not in tensors:
        raise ConfigError("the weights do not fit: there is no `weight`; train again")
    return SmallModel(version, label, tensors)


SmallRegistry = Registry[Label, SmallModel]


def registry_at(directory: Path) -> SmallRegistry:
    return Registry(directory, Label, build_model)


def tensors_of(seed: int, size: int = 8) -> Tensors:
    return {"weight": torch.rand(size, size, generator=torch.Generator().manual_seed(seed))}


def save_model(
    directory: Path,
    seed: int = 1,
    *,
    last_day: str = "2031-04-30",
    metrics: dict[str, float] | None = None,
    pictures: dict[str, bytes] | None = None,
) -> str:
    """The version of a new candidate."""
    label = Label.model_validate(label_of(seed, last_day, metrics))
    return registry_at(directory).save(label, last_day, tensors_of(seed), order(), pictures)


def png() -> bytes:
    """One grey pixel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")
    )
