"""Decides which people and roles a message notifies: its text and its `allowed_mentions`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from simulator.discord.errors import FieldPath, FormErrors, Payload
from simulator.discord.guild import PERMISSION_BITS, ChatUser, Guild

CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
USER = re.compile(r"<@!?(\d{1,20})>")
ROLE = re.compile(r"<@&(\d{1,20})>")
EVERYONE = re.compile(r"@(?:everyone|here)")
PARSE = ("everyone", "roles", "users")


@dataclass(frozen=True)
class AllowedMentions:
    """None in `users` or `roles` allows all of them."""

    everyone: bool = True
    users: frozenset[int] | None = None
    roles: frozenset[int] | None = None


@dataclass(frozen=True)
class Mentions:
    """What a text names (`users`, `roles`), and whom it notifies: `pings`, as everyone, role:ID or user:ID."""

    everyone: bool = False
    users: tuple[ChatUser, ...] = ()
    roles: tuple[int, ...] = ()

    @property
    def pings(self) -> tuple[str, ...]:
        everyone = ("everyone",) if self.everyone else ()
        return (*everyone, *(f"role:{each}" for each in self.roles), *(f"user:{person.id}" for person in self.users))


def read_allowed_mentions(value: object, path: FieldPath, form: FormErrors) -> AllowedMentions:
    if value is None:
        return AllowedMentions()
    item = form.mapping(value, path)
    parse = item.get("parse", [])
    if not isinstance(parse, list):
        form.add((*path, "parse"), "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        parse = []
    for i, each in enumerate(parse):
        form.choice(each if isinstance(each, str) else "", (*path, "parse", i), PARSE)
    allowed = {}
    for name in ("users", "roles"):
        ids = _ids(item, name, path, form)
        if name in parse and ids:
            code = "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE"
            form.add((*path, name), code, f'parse:["{name}"] and {name}: [ids...] are mutually exclusive.')
        allowed[name] = None if name in parse else ids
    return AllowedMentions("everyone" in parse, allowed["users"], allowed["roles"])


def resolve(text: str, allowed: AllowedMentions, guild: Guild, author: ChatUser) -> Mentions:
    """Whom the text notifies. A mention in code is text; @everyone and most roles need the author's permission."""
    text = CODE.sub(" ", text)
    may_mention_all = bool(guild.permissions_of(author) & 1 << PERMISSION_BITS["mention_everyone"])
    users = {int(each): None for each in USER.findall(text)}
    roles = {int(each): None for each in ROLE.findall(text)}
    return Mentions(
        bool(EVERYONE.search(text)) and allowed.everyone and may_mention_all,
        tuple(
            guild.people[each]
            for each in users
            if each in guild.people and (allowed.users is None or each in allowed.users)
        ),
        tuple(
            each
            for each in roles
            if each in guild.roles
            and (guild.roles[each].mentionable or may_mention_all)
            and (allowed.roles is None or each in allowed.roles)
        ),
    )


def _ids(item: Payload, name: str, path: FieldPath, form: FormErrors) -> frozenset[int]:
    values = item.get(name) or []
    if not isinstance(values, list):
        form.add((*path, name), "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        return frozenset()
    if len(values) > 100:
        form.add((*path, name), "BASE_TYPE_MAX_LENGTH", "Must be 100 or fewer in length.")
    return frozenset(form.snowflake(each, (*path, name, i)) for i, each in enumerate(values))
