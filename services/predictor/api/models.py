"""Endpoints that read the registry: models and their pictures. No model is loaded."""

from __future__ import annotations

from datetime import date
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Response
from fastapi import Path as InPath

from services.predictor.api.model_bodies import ModelBody, ModelDetail
from services.predictor.registry import model_files, state_file
from services.predictor.registry.model_files import PICTURE_PATTERN, VERSION_PATTERN
from services.predictor.registry.states import RegistryState
from shared.errors import ConfigError
from shared.runtime.api.problems import responses

Version = Annotated[
    str,
    InPath(pattern=VERSION_PATTERN, description="version, as GET /v1/models lists it", examples=["20260131-0a1b2c3d"]),
]
PictureName = Annotated[
    str, InPath(pattern=PICTURE_PATTERN, description="name of one of the model's pictures", examples=["reliability"])
]
PNG = {"image/png": {"schema": {"type": "string", "format": "binary"}, "example": "(a PNG)"}}


def router(models: Path) -> APIRouter:
    """`models`: the registry's directory."""
    router = APIRouter(prefix="/models")

    @router.get("", summary="List models, the newest data first")
    def list_models() -> list[ModelBody]:
        """State, training data and metrics of each model. At most one is live; shadows predict beside it."""
        return model_list(models)

    @router.get("/{version}", summary="Get a model", responses=responses(404))
    def get_model(version: Version) -> ModelDetail:
        """Its description, metrics, pictures and history."""
        require_model(models, version)
        return model_detail(models, version)

    @router.get(
        "/{version}/pictures/{name}.png",
        summary="Get a picture of a model",
        response_class=Response,
        responses=responses(404) | {200: {"description": "The picture", "content": PNG}},
    )
    def get_model_picture(version: Version, name: PictureName) -> Response:
        """A picture drawn by the training, such as the reliability diagram."""
        require_model(models, version)
        content = model_files.picture(models, version, name)
        if content is None:
            available = ", ".join(model_files.pictures(models, version)) or "none"
            raise HTTPException(HTTPStatus.NOT_FOUND, f"model {version} has no picture {name!r}; it has: {available}")
        return Response(content, media_type="image/png")

    return router


def model_list(models: Path) -> list[ModelBody]:
    """All models of the registry, the newest data first."""
    registry_state = state_file.read(models)
    return [_summary(models, registry_state, version)[0] for version in model_files.versions(models)]


def model_detail(models: Path, version: str) -> ModelDetail:
    """The model with its description and history. It must exist."""
    registry_state = state_file.read(models)
    short, description = _summary(models, registry_state, version)
    return ModelDetail(
        **short.model_dump(),
        description=description,
        history=registry_state.changes_of(version),
        pictures=model_files.pictures(models, version),
    )


def require_model(models: Path, version: str) -> None:
    """Raises HTTPException 404 if there is no such model."""
    if not model_files.exists(models, version):
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no model {version}; GET /v1/models lists the models")


def _summary(models: Path, registry_state: RegistryState, version: str) -> tuple[ModelBody, dict[str, Any]]:
    """The model in short, and its description, which is empty if it cannot be read."""
    description: dict[str, Any] = {}
    body, problem = {}, None
    try:
        body = model_files.body_of(models, version)
        description = body["description"]
    except ConfigError as error:
        problem = str(error)
    changes = registry_state.changes_of(version)
    metrics = description.get("metrics")
    return ModelBody(
        version=version,
        state=registry_state.state_of(version),
        since=changes[-1].at if changes else None,
        first_day=_day(description.get("first_day")),
        last_day=_day(body.get("last_day")),
        events=description.get("events"),
        seed=description.get("seed"),
        metrics=metrics if isinstance(metrics, dict) else {},
        problem=problem,
    ), description


def _day(value: object) -> str | None:
    return date.fromisoformat(value).isoformat() if isinstance(value, str) else None
