"""Limits the size of a record, to what every broker stores."""

from __future__ import annotations

from collections.abc import Sequence

from shared.broker.contract import NewRecord
from shared.errors import InvalidEvent, RecordTooLarge

# The limit of a topic on Kafka, for a batch with all its fields (broker/kafka/topics.py). A page of a source is far
# smaller; a source's whole document may be larger.
TOPIC_LIMIT_BYTES = 8 * 1024 * 1024
# The difference is for the fields of a batch and of its compression, which cannot shrink every value.
MAX_RECORD_BYTES = TOPIC_LIMIT_BYTES - 64 * 1024
# The lengths of a name and a value.
_HEADER_BYTES = 10


def size_of(record: NewRecord) -> int:
    """The size of a record in bytes, uncompressed: key, value and headers."""
    headers = sum(len(name.encode()) + len(value) + _HEADER_BYTES for name, value in record.headers.items())
    return len(record.key or b"") + len(record.value or b"") + headers


class SizeLimits:
    """The largest record that each topic accepts. A topic may have a lower limit than Headrace asked for; the broker's
    refusal is the only sign of it."""

    def __init__(self) -> None:
        self._by_topic: dict[str, int] = {}

    def of(self, topic: str) -> int:
        return self._by_topic.get(topic, MAX_RECORD_BYTES)

    def learn(self, refused: RecordTooLarge, *, cuts: bool) -> None:
        """`cuts`: the topic's records are cut to the limit, so it is halved: few tries find one that fits."""
        size = min(refused.size_bytes, self.of(refused.topic))
        self._by_topic[refused.topic] = size // 2 if cuts else size - 1

    def require_fitting(self, outputs: Sequence[NewRecord]) -> None:
        """Raises InvalidEvent if one of the records is too large for its topic."""
        for output in outputs:
            limit = self.of(output.topic)
            if (size := size_of(output)) > limit:
                raise InvalidEvent(
                    f"the output for {output.topic} has {size:,} bytes, but the topic accepts at most {limit:,}"
                )
