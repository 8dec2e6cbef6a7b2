"""Lists the groups that read the embedded log, and forgets those that no longer exist."""

from __future__ import annotations

from typing import NamedTuple

from shared.broker.postgres import retention
from shared.database.connection import DbConnection
from shared.errors import ConfigError

_GROUPS = """
SELECT pos.grp,
       (SELECT count(*) FROM broker.members m WHERE m.grp = pos.grp AND m.alive_until > now()),
       count(DISTINCT pos.topic_id),
       sum(greatest(part.end_off - greatest(pos.next_off, part.begin_off), 0))::bigint
FROM broker.positions pos
JOIN broker.topics t ON t.id = pos.topic_id AND t.name NOT LIKE 'kafka:%'
JOIN broker.partitions part ON part.topic_id = pos.topic_id AND part.p = pos.p
GROUP BY pos.grp ORDER BY pos.grp"""
_FORGET = ("positions", "leases", "members", "checkpoints", "losses")


class GroupStatus(NamedTuple):
    """A group of the embedded log. `unread`: records. `overdue_s`: for how long records should have been deleted that
    it has not read, in seconds; None if there are none."""

    group: str
    members: int
    topics: int
    unread: int
    overdue_s: float | None

    @property
    def is_forgotten(self) -> bool:
        """Whether it keeps old records and no process reads them."""
        return self.overdue_s is not None and not self.members


def list_groups(connection: DbConnection) -> list[GroupStatus]:
    overdue_s: dict[str, float] = {}
    for each in retention.overdue(connection):
        if each.group is not None:
            overdue_s[each.group] = max(each.seconds, overdue_s.get(each.group, 0.0))
    return [
        GroupStatus(group, members, topics, unread, overdue_s.get(group))
        for group, members, topics, unread in connection.execute(_GROUPS)
    ]


def forget_group(connection: DbConnection, group: str) -> int:
    """Delete the positions of a group, in the caller's transaction; returns how many unread records it gives up.

    Raises ConfigError if the group does not exist or has a member.
    """
    by_name = {each.group: each for each in list_groups(connection)}
    if group not in by_name:
        known = f"expected one of {', '.join(by_name)}" if by_name else "the embedded log has no group"
        raise ConfigError(f"there is no group {group!r}: {known}")
    if by_name[group].members:
        raise ConfigError(f"the group {group!r} is at work: stop its processes first")
    for table in _FORGET:
        connection.execute(f"DELETE FROM broker.{table} WHERE grp = %s", (group,))
    return by_name[group].unread
