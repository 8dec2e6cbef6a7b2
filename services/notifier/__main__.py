"""The notifier process: reads predictions and loaded-events, sends messages to people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import product
from typing import get_args

from services.notifier.addresses import kind_of
from services.notifier.alerts.alert_rules import alert_rules_of
from services.notifier.alerts.watch import AlertWatch
from services.notifier.api import incidents, mutes
from services.notifier.api.destinations import Destinations
from services.notifier.api.notifications import KIND, delivery_progress, router
from services.notifier.api.rules import record_load
from services.notifier.api.rules import router as rules_router
from services.notifier.bot.assembly import create_bot
from services.notifier.channel_setup import can_send, create_channels
from services.notifier.channels.base import Channel, Digesting, Editing
from services.notifier.delivery.channel_loop import DeliveryOptions
from services.notifier.delivery.marks import SendOutcome
from services.notifier.delivery.sender import Sender
from services.notifier.notify import Notifier, no_subscribers
from services.notifier.pacing import DeliveryPolicy
from services.notifier.rules.active_rules import ActiveRules
from services.notifier.sending_hold import SendingStatus
from services.notifier.settings import NotifierSettings
from services.notifier.storage.postgres_measurements import measure_waiting
from services.notifier.storage.postgres_mutes import muted_until
from services.notifier.storage.postgres_subscriptions import subscriber_addresses
from services.notifier.summaries.postgres_summaries import SummaryComposer
from shared.broker.connect import connect
from shared.database.connection import limited_connection
from shared.ops.retention import message_rows
from shared.runtime.loops.handler import InTransaction
from shared.runtime.metrics import Metrics
from shared.runtime.process.operation_poller import OperationPoller
from shared.runtime.process.run import launch
from shared.runtime.row_retention import RowRetention
from shared.runtime.service import ConsumerWork, Service, service_starter
from shared.topics import LOADED, PREDICTIONS

# The limit of a statement of the sender, which concerns a few rows. A silent connection delays messages this long.
ANSWER_S = 10.0


def create_sender(
    conninfo: str,
    metrics: Metrics,
    rules: ActiveRules,
    channels: Sequence[Channel],
    delivery_policy: DeliveryPolicy,
    sending: SendingStatus,
) -> Sender:
    for channel, outcome in product(channels, get_args(SendOutcome)):  # from 0, so that a rate has the first failure
        metrics.notifications_total.labels(channel.name, outcome)
    return Sender(
        partial(limited_connection, conninfo, "notifier sender", ANSWER_S),
        channels,
        DeliveryOptions(
            delivery_policy,
            lambda channel, outcome: metrics.notifications_total.labels(channel, outcome).inc(),
            rules,
            muted_until,
            sending.update,
        ),
    )


def wire(settings: NotifierSettings, metrics: Metrics) -> Service:
    conninfo = settings.database.conninfo("headrace notifier")
    options = settings.notifier
    rules = ActiveRules(
        options.rules_file,
        partial(datetime.now, UTC),
        options.thresholds,
        partial(record_load, metrics),
        partial(can_send, options),
    )
    bot = create_bot(settings, rules.names, metrics)
    subscribers = no_subscribers if bot is None else subscriber_addresses
    channels = create_channels(settings, rules.recipients, None if bot is None else bot.channel)
    kinds = [channel.name for channel in channels]
    editing = {channel.name for channel in channels if isinstance(channel, Editing)}
    notifier = Notifier(options.addresses, settings.clock.clock(), rules.book, subscribers, editing)
    delivery_policy = DeliveryPolicy(retry_after_crash=frozenset(kinds if options.crash_policy == "retry" else ()))
    paces = {channel.name: channel.pace for channel in channels if isinstance(channel, Digesting)}
    sending = SendingStatus(metrics.notifications_held.set)
    sender = create_sender(conninfo, metrics, rules, channels, delivery_policy, sending)
    summaries = SummaryComposer(
        partial(limited_connection, conninfo, "notifier summaries", settings.database.statement_timeout_s),
        lambda: connect(settings, conninfo), rules.book, delivery_policy, options.summary_patience_s,
    )  # fmt: skip
    alerts = AlertWatch(
        settings.database.conninfo(), lambda: alert_rules_of(rules.book(), options.addresses), rules.book, editing
    )
    return Service(
        ConsumerWork([PREDICTIONS, LOADED], InTransaction(notifier.handle)),
        background=[
            rules.run,
            summaries.run,
            sender.run,
            alerts.run,
            *([] if bot is None else [bot.run]),
            OperationPoller(conninfo, settings.name, KIND, delivery_progress),
            RowRetention(conninfo, settings.name, message_rows(settings.retention), metrics),
        ],
        routers=[
            lambda context: router(context, Destinations(options, kinds, rules.book)),
            lambda context: incidents.router(context, rules.book),
            lambda context: mutes.router(context, rules.names),
            lambda context: rules_router(context, rules, options.addresses),
        ],
        measurements=[
            measure_waiting(metrics, kinds, lambda address: rules.pace(address) or paces.get(kind_of(address)))
        ],
        problem=sending.problem,
    )


if __name__ == "__main__":
    sys.exit(launch(NotifierSettings, service_starter(wire)))
