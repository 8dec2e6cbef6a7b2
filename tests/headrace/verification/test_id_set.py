from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from headrace.verification.id_set import IdSet


@given(st.sets(st.uuids()), st.sets(st.uuids()))
def test_it_has_the_ids_and_no_others(ids: set[UUID], others: set[UUID]) -> None:
    known = IdSet(ids)
    assert all(each in known for each in ids)
    assert not any(each in known for each in others - ids)
