"""The population stability index of equal and of different populations."""

from __future__ import annotations

import numpy as np
import pytest

from services.predictor.evaluation.stability_index import Bins, fit_bins, psi, shares_in


def test_the_same_population_does_not_drift() -> None:
    random = np.random.default_rng(8)
    bins = fit_bins(random.normal(size=20_000))

    assert psi(bins, random.normal(size=20_000)) < 0.005
    assert psi(bins, random.normal(loc=1, size=20_000)) > 0.5


def test_the_index_follows_its_formula() -> None:
    bins = Bins((0.0,), (0.5, 0.5, 0.0))

    assert psi(bins, np.array([-1.0, 0.0, -1.0, 1.0])) == pytest.approx(0.25 * np.log(1.5) - 0.25 * np.log(0.5))


def test_bins_are_about_equal_and_a_flag_has_two() -> None:
    random = np.random.default_rng(9)
    flag = (random.random(1000) < 0.9).astype(np.float32)

    assert fit_bins(random.normal(size=1000)).shares[:-1] == pytest.approx([0.1] * 10, abs=0.002)
    assert fit_bins(flag).edges == (0.0,)
    assert fit_bins(np.ones(50)).edges == ()
    assert psi(fit_bins(flag), 1 - flag) > 1


def test_unknown_is_a_bin_of_its_own() -> None:
    values = np.array([1.0, 2.0, np.nan, np.nan])
    bins = fit_bins(values, count=2)

    assert shares_in(bins.edges, values).tolist() == [0.25, 0.25, 0.5]
    assert psi(bins, values) == 0
    assert psi(bins, np.array([1.0, 2.0])) > 1


def test_the_index_of_empty_samples_is_nan() -> None:
    assert np.isnan(psi(fit_bins(np.zeros(0)), np.zeros(0)))
