"""Our evaluation of trees, compared with LightGBM's, and the refusal of damaged trees."""

from __future__ import annotations

from functools import cache

import lightgbm
import numpy as np
import pytest

from services.predictor.data.events import Floats, Floats32
from services.predictor.learners.boosting.lightgbm_model import parse_trees
from services.predictor.learners.boosting.trees import Trees, trees_of
from shared.errors import ConfigError


@cache
def train_booster(leaves: int, unknown: bool) -> tuple[lightgbm.Booster, Floats32]:
    rng = np.random.default_rng(leaves)
    rows = rng.standard_normal((3000, 6)).astype(np.float32)
    rows[:, 3] = rng.integers(0, 3, 3000)
    if unknown:
        rows[rng.random(rows.shape) < 0.2] = np.nan
    target = np.nan_to_num(rows[:, 0]) ** 2 + rows[:, 3].astype(bool) - np.isnan(rows[:, 5])
    options = {"num_leaves": leaves, "verbosity": -1, "num_threads": 1, "seed": 1, "min_data_in_leaf": 5}
    return lightgbm.train(options, lightgbm.Dataset(rows, target), 60), rows


def ours(booster: lightgbm.Booster) -> Trees:
    return parse_trees(booster.model_to_string())


def theirs(booster: lightgbm.Booster, rows: Floats32) -> Floats:
    return np.asarray(booster.predict(rows.astype(np.float64), num_threads=1), dtype=np.float64)


@pytest.mark.parametrize(("leaves", "unknown"), [(2, False), (15, False), (15, True), (31, True), (64, True)])
def test_our_sums_are_those_of_lightgbm(leaves: int, unknown: bool) -> None:
    booster, rows = train_booster(leaves, unknown)

    np.testing.assert_allclose(ours(booster).sums(rows), theirs(booster, rows), rtol=0, atol=1e-12)


def test_an_unknown_value_that_training_never_had_is_handled_as_by_lightgbm() -> None:
    booster, rows = train_booster(15, False)
    with_unknown = rows.copy()
    with_unknown[np.random.default_rng(3).random(rows.shape) < 0.3] = np.nan

    np.testing.assert_allclose(ours(booster).sums(with_unknown), theirs(booster, with_unknown), rtol=0, atol=1e-12)


def test_a_value_on_the_threshold_goes_left() -> None:
    booster, rows = train_booster(15, False)
    trees = ours(booster)
    at = np.zeros((trees.threshold.size, rows.shape[1]), dtype=np.float32)
    at[np.arange(len(at)), np.maximum(trees.feature.ravel(), 0)] = trees.threshold.ravel()

    np.testing.assert_allclose(trees.sums(at), theirs(booster, at), rtol=0, atol=1e-12)


def test_a_row_has_the_same_sum_in_every_batch() -> None:
    booster, rows = train_booster(15, True)
    trees = ours(booster)
    together = trees.sums(rows[:500])

    assert [trees.sums(rows[k : k + 1])[0] for k in range(500)] == together.tolist()
    assert np.array_equal(trees.sums(rows[100:107]), together[100:107])


def test_trees_are_restored_from_their_arrays() -> None:
    booster, rows = train_booster(15, True)
    trees = ours(booster)

    assert np.array_equal(trees_of(trees.arrays()).sums(rows), trees.sums(rows))


def test_trees_of_one_leaf_and_no_trees_at_all_add_up() -> None:
    rows = np.zeros((3, 2), dtype=np.float32)
    stump = lightgbm.train(
        {"verbosity": -1, "min_data_in_leaf": 50, "num_threads": 1}, lightgbm.Dataset(np.zeros((9, 2)), np.ones(9)), 1
    )

    assert ours(stump).sums(rows) == pytest.approx([1.0, 1.0, 1.0])
    assert parse_trees("tree\n\nend of trees\n").sums(rows).tolist() == [0, 0, 0]


def test_damaged_arrays_are_refused() -> None:
    good = ours(train_booster(15, False)[0]).arrays()
    circle = good["left"].copy()
    circle[2, 1] = 0
    with pytest.raises(ConfigError, match="tree 2 is not valid"):
        trees_of(good | {"left": circle})
    with pytest.raises(ConfigError, match="missing: value"):
        trees_of({name: array for name, array in good.items() if name != "value"})
    with pytest.raises(ConfigError, match="of two dimensions: threshold"):
        trees_of(good | {"threshold": good["threshold"].astype(np.float64)})
    with pytest.raises(ConfigError, match="do not fit together"):
        trees_of(good | {"value": good["value"][:, :-1]})
    with pytest.raises(ConfigError, match="is not finite"):
        trees_of(good | {"value": good["value"] * np.nan})


def test_rows_with_too_few_features_are_refused() -> None:
    with pytest.raises(ValueError, match="the rows have 1"):
        ours(train_booster(15, False)[0]).sums(np.zeros((1, 1), dtype=np.float32))
