"""Builds a trained model from its description and tensors, and rejects tensors that do not match."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from services.predictor.learners.boosting.fit import Boosting, boosting_of
from services.predictor.learners.boosting.trees import ARRAYS
from services.predictor.learners.network.network import Network, Shape
from services.predictor.model.ensemble import NETWORK, POLICY, Ensemble, EnsembleDescription
from services.predictor.policy.agent import policy_of
from shared.errors import ConfigError


def ensemble_of(version: str, description: EnsembleDescription, tensors: Mapping[str, Tensor]) -> Ensemble:
    """Raises ConfigError if the tensors do not match the description."""
    _check_consistency(version, description, tensors)
    learners: list[Network | Boosting] = []
    for member, prefix in zip(description.members, description.prefixes, strict=True):
        build = _network_of if member.kind == NETWORK else _trees_of
        name = f"{prefix.replace('.', ' ')} of model {version}"
        learners.append(build(name, description.shape, _with_prefix(tensors, f"{prefix}.")))
    policy = None if description.policy is None else policy_of(description.policy, _with_prefix(tensors, f"{POLICY}."))
    return Ensemble(version, description, learners, policy)


def _network_of(name: str, shape: Shape, tensors: Mapping[str, Tensor]) -> Network:
    network = Network(shape)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ConfigError(f"{name}: {_in_one_line(error)}") from error
    network.requires_grad_(requires_grad=False)
    return network.eval()


def _trees_of(name: str, shape: Shape, tensors: Mapping[str, Tensor]) -> Boosting:
    width = shape.entry_features + shape.event_features + 1
    try:
        boosting = boosting_of({name: tensor.numpy() for name, tensor in tensors.items()})
    except (TypeError, ConfigError) as error:  # numpy lacks some of torch's types
        raise ConfigError(f"{name}: {_in_one_line(error)}") from error
    if boosting.trees.feature.max(initial=-1) >= width:
        raise ConfigError(f"{name} use features beyond the {width} that the model reads")
    return boosting


def _check_consistency(version: str, description: EnsembleDescription, tensors: Mapping[str, Tensor]) -> None:
    """Checks that the description is consistent and that every tensor belongs to one of its parts."""
    encoding, shape = description.encoding, description.shape
    actual = (shape.slots, shape.entry_features, shape.event_features, shape.venues)
    slots, venues = encoding.names.profile.slots, len(encoding.names.venues)
    expected = (slots, len(encoding.entry_features), len(encoding.event_features), venues)
    if actual != expected:
        raise ConfigError(
            f"model {version}: its network has (slots, entry and event features, venues) {actual},"
            f" but its encoding has {expected}"
        )
    networks = [prefix for prefix in description.prefixes if prefix.startswith(f"{NETWORK}.")]
    tree_tensors = {f"{prefix}.{name}" for prefix in description.prefixes if prefix not in networks for name in ARRAYS}
    other_prefixes = tuple(f"{prefix}." for prefix in networks)  # load_state_dict checks the rest of the names
    other_prefixes = other_prefixes if description.policy is None else (*other_prefixes, f"{POLICY}.")
    unknown = sorted(name for name in tensors if name not in tree_tensors and not name.startswith(other_prefixes))
    if unknown:
        raise ConfigError(f"model {version} has tensors that belong to none of its parts: {', '.join(unknown[:3])}")


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
