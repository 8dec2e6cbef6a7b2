"""Running means over what settled lately."""

from __future__ import annotations

from services.predictor.scores import Score, Scores


def test_states_are_kept_apart() -> None:
    scores = Scores()
    scores.add("a", "card", Score(1.0, 2.0))
    scores.add("b", "card", Score(2.0, 3.0))
    scores.add("a", "observation", Score(0.5, 2.0))

    assert scores.summary() == {
        "card": {"events": 2, "log_loss": 1.5, "base_log_loss": 2.5},
        "observation": {"events": 1, "log_loss": 0.5, "base_log_loss": 2.0},
    }


def test_a_corrected_result_replaces_its_score() -> None:
    scores = Scores()
    scores.add("a", "card", Score(1.0, 2.0))
    scores.add("a", "card", Score(3.0, 2.0))

    assert scores.summary()["card"] == {"events": 1, "log_loss": 3.0, "base_log_loss": 2.0}


def test_old_scores_make_room() -> None:
    scores = Scores(kept=2)
    for number in range(5):
        scores.add(f"e{number}", "card", Score(float(number), 0.0))

    assert scores.summary()["card"]["log_loss"] == 3.5


def test_nothing_scored_is_nothing_said() -> None:
    assert Scores().summary() == {}
