"""Unpacks predictions: one row per class from one row per prediction.

The view `analytics.predictions` expands JSON in the server, which takes most of the time of a large read. The view
`analytics.packed_predictions` has the same content as arrays. The rows and their order are equal; a test compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from headrace.frames.catalogue import PREDICTIONS, Column
from headrace.frames.query import Filters, conditions, identifier
from headrace.frames.typed import encode

Ints = npt.NDArray[np.int64]
_OF_PREDICTION = ("event_key", "model_version", "as_of", "state", "shadow")
_PACKED = ("layout", "probabilities")
# Greater than any smallint, so that a missing slot sorts last.
_NO_SLOT = np.iinfo(np.int16).max + 1


class Layouts(NamedTuple):
    """The classes of all layouts one after another, each layout's in the order of the view's key.

    first, size (L,): where each layout begins, and its number of classes. position (C,): of the class in the
    prediction's array. slot: _NO_SLOT for a class of the event.
    """

    first: Ints
    size: Ints
    position: Ints
    heads: list[str]
    slots: npt.NDArray[np.int32]
    labels: list[str]


def packed_statement(filters: Filters) -> str:
    """The selected predictions in the order of the view's key. The filter of heads is left to `unpack`."""
    of_rows = {name: values for name, values in filters.equals.items() if name != "head"}
    where = conditions(PREDICTIONS, Filters(filters.days, filters.venues, filters.sources, filters.events, of_rows))
    clause = f" WHERE {' AND '.join(where)}" if where else ""
    selected = ", ".join(f"v.{identifier(name)}" for name in (*_OF_PREDICTION, *_PACKED))
    order = 'v.event_key COLLATE "C", v.as_of, v.state COLLATE "C", v.model_version COLLATE "C"'
    return f"SELECT {selected} FROM analytics.packed_predictions v{clause} ORDER BY {order}"


def unpack(batch: pa.RecordBatch, columns: Sequence[Column], heads: Sequence[object] = ()) -> pa.RecordBatch:
    """The rows of a batch of `packed_statement`. `heads`: only these; empty: all."""
    encoded = batch.column("layout").dictionary_encode()
    layouts = layouts_of([text or "[]" for text in encoded.dictionary.to_pylist()] + ["[]"], heads)
    layout = encoded.indices.fill_null(len(layouts.size) - 1).to_numpy(zero_copy_only=False).astype(np.int64)
    count = layouts.size[layout]
    row = np.repeat(np.arange(len(layout)), count)
    within = np.arange(len(row)) - np.repeat(count.cumsum() - count, count)
    which = layouts.first[layout][row] + within
    arrays = [_array(column.name, batch, layouts, row, which) for column in columns]
    return encode(pa.RecordBatch.from_arrays(arrays, [column.name for column in columns]), columns)


def layouts_of(texts: Sequence[str], heads: Sequence[object]) -> Layouts:
    """The layouts given as JSON."""
    by_layout = [_classes(orjson.loads(text), heads) for text in texts]
    items = [item for layout in by_layout for item in layout]
    size = np.array([len(layout) for layout in by_layout], dtype=np.int64)
    return Layouts(
        first=size.cumsum() - size,
        size=size,
        position=np.array([position for _, _, _, position in items], dtype=np.int64),
        heads=[head for head, _, _, _ in items],
        slots=np.array([slot for _, slot, _, _ in items], dtype=np.int32),
        labels=[label for _, _, label, _ in items],
    )


def _classes(layout: Sequence[tuple[str, int | None, str]], heads: Sequence[object]) -> list[tuple[str, int, str, int]]:
    """(head, slot, label, position), sorted as PostgreSQL sorts the view's key: a missing slot last."""
    return sorted(
        (head, _NO_SLOT if slot is None else slot, label, position)
        for position, (head, slot, label) in enumerate(layout)
        if not heads or head in heads
    )


def _array(name: str, batch: pa.RecordBatch, layouts: Layouts, row: Ints, which: Ints) -> pa.Array:
    match name:
        case "head":
            return _texts(layouts.heads, which)
        case "class":
            return _texts(layouts.labels, which)
        case "slot":
            slots = layouts.slots[which]
            return pa.array(slots, pa.int16(), mask=slots == _NO_SLOT)
        case "probability":
            lists = batch.column("probabilities")
            begin = lists.offsets.to_numpy()[:-1].astype(np.int64)
            return lists.values.take(pa.array(begin[row] + layouts.position[which]))
    values = batch.column(name)
    if name in {"model_version", "state"}:
        values = values.dictionary_encode()
    return values.take(pa.array(row))


def _texts(texts: Sequence[str], which: Ints) -> pa.Array:
    """The text of each row as a dictionary."""
    vocabulary = sorted(set(texts))
    position = {text: code for code, text in enumerate(vocabulary)}
    codes = np.array([position[text] for text in texts], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(codes[which]), pa.array(vocabulary, pa.string()))
