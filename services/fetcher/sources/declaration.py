"""The declaration of a source: the addresses of its documents, how they split into events, and request limits.

yaml_file.py reads declarations from YAML files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from shared.errors import ConfigError
from shared.events import Frozen, ReferenceRow
from shared.loopback import is_loopback
from shared.records import reason_of

REFERENCE = "reference"
"""The feed of reference data. Every source has it; none declares it."""


# A larger event would not fit into a record of Kafka (8 MiB) once it has become a dead letter. Real ones have 6 KB.
MAX_SLICE_BYTES = 1024 * 1024


def _template(text: str) -> str:
    try:
        text.format(feed="feed", date=date(2026, 1, 31))
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise ValueError(f"expected a path with only {{date:FORMAT}} and {{feed}}, got {text!r}: {error}") from error
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"expected the name of a time zone (like Asia/Tokyo), got {name!r}") from error
    return name


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.password is not None:
        raise ValueError("expected http(s)://HOST[:PORT][/PATH] without a password")
    return url.rstrip("/")


def _rows(table: Any) -> Any:
    """Rows from the short form: code to name, or code to {name, attribute ...}."""
    if not isinstance(table, Mapping):
        return table
    rows = []
    for code, entry in table.items():
        attributes = dict(entry) if isinstance(entry, Mapping) else {"name": entry}
        rows.append({"code": str(code), "name": attributes.pop("name", None), "attributes": attributes})
    return rows


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]
Template = Annotated[str, AfterValidator(_template)]
Seconds = Annotated[float, Field(gt=0)]
Table = Annotated[tuple[ReferenceRow, ...], BeforeValidator(_rows)]


class Feed(Frozen):
    """One kind of document."""

    name: Name
    dated: Template = Field(description="path of a day's document")
    today: Template | None = Field(default=None, description="path of the newest document, fetched during the day")
    events: str = Field(min_length=1, description="key of the array of events; dots separate nested keys")
    close: Literal["changed", "reemit-first"] = Field(
        default="changed",
        description="what to emit after the day: changed events, or also events unchanged since their first version",
    )


class Identity(Frozen):
    """The keys of an event's slice that identify it: its date (YYYY-MM-DD), venue and number."""

    date: str
    venue: str
    number: str


class LivePolling(Frozen):
    poll_interval_s: Seconds = 300
    close_after_s: float = Field(
        default=900, ge=0, description="seconds from the end of a day until its documents are final"
    )


class HttpLimits(Frozen):
    """Limits for one document. The total time is from the lookup of the name to the last byte."""

    connect_timeout_s: Seconds = 3
    read_timeout_s: Seconds = 5
    total_timeout_s: Seconds = 30
    max_wire_bytes: int = Field(default=8 * 1024 * 1024, ge=1, description="received bytes, headers included")
    max_body_bytes: int = Field(default=4 * 1024 * 1024, ge=1, description="bytes of the unpacked body")
    max_events: int = Field(default=2000, ge=1, description="elements of the array of events")
    max_event_bytes: int = Field(
        default=MAX_SLICE_BYTES,
        ge=1,
        le=MAX_SLICE_BYTES,
        description="bytes of one event; a larger one is a dead letter, the others of its document are published",
    )
    allow_private: bool = Field(
        default=False, description="connect to private addresses although the host of base_url has a public name"
    )


class Redirects(Frozen):
    """Where redirects may lead besides the origin of base_url: HOST, or HOST:PORT."""

    hosts: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+(:[0-9]+)?$")], ...] = ()


class BlockPage(Frozen):
    """Texts that only a page of the server's protection contains."""

    markers: tuple[Annotated[str, Field(min_length=1)], ...] = ()


class Budget(Frozen):
    """Limits for the requests to one host by all replicas, for the current day and for past days together.

    The defaults suit a public host whose owner has said nothing. None is no limit.
    """

    rate: float | None = Field(default=2, gt=0, le=10_000, description="requests per second, in the long run")
    burst: int = Field(default=10, ge=1, description="requests that may come at once after a pause")
    in_flight: int | None = Field(
        default=4, ge=1, description="requests at the same time; past days leave one of them to the current day"
    )
    max_retry_after_s: Seconds = Field(
        default=86400, description="longest wait that the server may ask for with Retry-After; a longer one is cut"
    )

    @property
    def is_limited(self) -> bool:
        return self.rate is not None or self.in_flight is not None

    @property
    def places(self) -> int | None:
        """How many requests may be under way: a burst smaller than `in_flight` limits them too. None is no limit."""
        bounds = [self.in_flight, None if self.rate is None else self.burst]
        return min((each for each in bounds if each is not None), default=None)


UNLIMITED = Budget(rate=None, in_flight=None)


class Completeness(Frozen):
    """When the final document of a day counts as complete (planning/suspects.py, planning/revisits.py)."""

    values: dict[Name, tuple[str, ...]] = Field(
        default_factory=dict,
        description="for each feed, keys of an event: one of them is neither null nor empty if the event has values",
    )
    equal_answers: int = Field(
        default=3, ge=1, le=100, description="a suspect document is accepted once this many answers in a row are equal"
    )
    retry_s: Seconds = Field(default=3600, description="delay of the second answer; it doubles with each equal answer")
    max_retry_s: Seconds = 86400
    recheck_after_h: float = Field(
        default=24, ge=0, le=1000, description="hours after which a finished window is fetched once more; 0: never"
    )


class EventKey(Frozen):
    """A key of the events of a feed."""

    feed: Name
    key: str = Field(min_length=1)


class Cadence(Frozen):
    """How often the documents of the current day are fetched (planning/cadence.py). Without it: live.poll_interval_s.

    An event is near from `near_s` before its start until it is settled, at most until `settle_s` after its start. The
    night is before the first event is near and after the last one.
    """

    start: EventKey = Field(description="key of an event's start: ISO 8601, in the source's time zone if it has none")
    settled: EventKey | None = Field(default=None, description="key that is neither null nor empty once it is settled")
    near_s: Seconds = 1800
    settle_s: Seconds = 7200
    near_interval_s: Seconds = 60
    near_feeds: tuple[Name, ...] = Field(
        default=(), description="feeds that are fetched at near_interval_s, the others at interval_s; default: all"
    )
    interval_s: Seconds = Field(default=300, description="between events, and while no start is known")
    night_interval_s: Seconds = 900
    min_publication_gap_s: float = Field(
        default=0, ge=0, description="the source publishes no document sooner after the one before"
    )


class RetryPolicy(Frozen):
    """The arguments of shared/retry.py."""

    tries: int = Field(default=4, ge=1, le=100)
    first_delay_s: Seconds = 0.5
    factor: float = Field(default=2, ge=1)
    max_delay_s: Seconds = 10
    jitter: float = Field(default=0.5, ge=0, le=1)
    total_s: Seconds = 40


class Source(Frozen):
    """A complete declaration."""

    name: Name
    base_url: Annotated[str, AfterValidator(_web_address)]
    time_zone: Annotated[str, AfterValidator(_zone)]
    feeds: Annotated[tuple[Feed, ...], Field(min_length=1)]
    identity: Identity
    archive: Template | None = None
    live: LivePolling = LivePolling()
    cadence: Cadence | None = None
    completeness: Completeness = Completeness()
    concurrency: int = Field(
        default=4, ge=1, le=64, description="maximum documents of past days fetched at the same time"
    )
    http: HttpLimits = HttpLimits()
    redirects: Redirects = Redirects()
    block_page: BlockPage = BlockPage()
    retry: RetryPolicy = RetryPolicy()
    budget: Budget | None = Field(default=None, description="default: none for a server on this machine, else Budget()")
    reference: dict[Name, Table] = Field(default_factory=dict)
    licence: str | None = Field(default=None, description="terms and attribution of the source's data, for data packs")

    @model_validator(mode="after")
    def _check_names(self) -> Source:
        names = [feed.name for feed in self.feeds]
        if len(set(names)) < len(names) or REFERENCE in names:
            raise ValueError(f"feeds: expected unique names other than {REFERENCE!r}, got {', '.join(names)}")
        self._check_feeds(names)
        for table, rows in self.reference.items():
            if len({row.code for row in rows}) < len(rows):
                raise ValueError(f"reference.{table}: expected unique codes")
        return self

    def _check_feeds(self, names: Collection[str]) -> None:
        """Raises ValueError if completeness or cadence names a feed that is not declared."""
        used = {f"completeness.values.{feed}": feed for feed in self.completeness.values}
        if self.cadence is not None:
            used["cadence.start.feed"] = self.cadence.start.feed
            if self.cadence.settled is not None:
                used["cadence.settled.feed"] = self.cadence.settled.feed
            used |= {f"cadence.near_feeds: {feed}": feed for feed in self.cadence.near_feeds}
        for key, feed in used.items():
            if feed not in names:
                raise ValueError(f"{key}: expected one of the feeds {', '.join(names)}, got {feed!r}")

    @property
    def host(self) -> str:
        """The host that the requests go to, with its port if the address names one."""
        return urlsplit(self.base_url).netloc.rpartition("@")[2].lower()

    @property
    def host_budget(self) -> Budget:
        """The declared budget. Without one, a server on this machine has no limits, any other those of `Budget`."""
        is_local = is_loopback(urlsplit(self.base_url).hostname or "")
        return self.budget or (UNLIMITED if is_local else Budget())

    @property
    def live_concurrency(self) -> int:
        """Maximum documents of the current day fetched at the same time: one of each feed, of two days at midnight."""
        return 2 * len(self.feeds)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def feed(self, name: str) -> Feed:
        return next(feed for feed in self.feeds if feed.name == name)

    def feeds_of(self, names: Collection[str] | None) -> list[str]:
        """The named feeds in declared order; all feeds if `names` is empty or None. Raises ConfigError for an unknown
        one."""
        declared = [feed.name for feed in self.feeds]
        if unknown := sorted(set(names or ()) - set(declared)):
            raise ConfigError(f"source {self.name} has no feed {unknown[0]!r}; it has {', '.join(declared)}")
        return [name for name in declared if not names or name in names]

    def with_base_url(self, base_url: str) -> Source:
        """The same source at another address."""
        return self.model_copy(update={"base_url": base_url.rstrip("/")})


def source_of(declared: Mapping[str, Any], origin: str) -> Source:
    """Raises ConfigError with `origin` (the file) and the wrong keys."""
    try:
        return Source.model_validate(declared)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {reason_of(error)}") from error
