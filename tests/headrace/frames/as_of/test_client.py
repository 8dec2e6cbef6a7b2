"""The client's questions about the past, as the reader, who may only read the views."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from pandas.testing import assert_frame_equal

from headrace.frames import BadArgument, connect
from headrace.frames.as_of.past import WITHOUT_PAST
from headrace.frames.catalogue import VIEWS
from services.loader.load import Loader
from shared.runtime.metrics import Metrics
from tests.services.loader.conftest import roles
from tests.services.loader.facts import DAY, StillClock, at, key, listed, observed, prediction, received, settled

__all__ = ["roles"]
FACTS = (listed(), observed(), settled(), listed(2, known=30), settled(known=40, technique=2))


@pytest.fixture
def reader_url(database_url: str, roles: Callable[[str], dict[str, str]]) -> str:
    with psycopg.connect(database_url) as owner:
        Loader(StillClock(), Metrics()).handle([*map(received, FACTS), prediction()], owner)
    return roles(database_url)["headrace_reader"]


def test_the_reader_sees_every_view_as_of_an_instant(reader_url: str) -> None:
    with connect(reader_url) as hr:
        then, later = hr.as_of(at(25)), hr.as_of("9999-01-01T00:00Z")

        assert list(then.events().event_key) == [key(1)]
        assert list(then.events(DAY, columns=["technique"]).technique) == [1]
        for name in VIEWS.keys() - WITHOUT_PAST.keys():
            assert_frame_equal(getattr(later, name)(), getattr(hr, name)(), obj=name)
        assert len(hr.events(columns=["technique"], event=key(1))) == 1
        assert then.events().attrs["as_of"] == at(25).isoformat()
        for name in WITHOUT_PAST:
            with pytest.raises(BadArgument, match=f"{name} cannot be asked as of an instant"):
                getattr(then, name)()
        with pytest.raises(BadArgument, match="needs a time zone"):
            hr.as_of("2031-05-06T12:00")


def test_the_reader_sees_the_history_of_an_event(reader_url: str) -> None:
    with connect(reader_url, zone="Asia/Tokyo") as hr:
        frame = hr.history(key(1))

    technique = frame[frame.field == "technique"]
    assert list(technique.value) == ["1", "2"]
    assert str(frame.known_at.dtype) == "datetime64[us, Asia/Tokyo]"


def test_an_empty_database_has_frames_with_the_same_types(database_url: str) -> None:
    with connect(database_url) as hr:
        then = hr.as_of(at(0))
        for name in VIEWS.keys() - WITHOUT_PAST.keys():
            assert_frame_equal(getattr(then, name)(), getattr(hr, name)(), obj=name)
