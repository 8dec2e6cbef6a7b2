"""The values of a template's variables for a finding. texts/variables.py describes them."""

from __future__ import annotations

from services.notifier.findings import finding as findings
from services.notifier.texts.message import RenderedText, escape


def variables_of(finding: findings.Finding) -> dict[str, object]:
    """Names are as the source has them; printing escapes them."""
    match finding:
        case findings.Tip(event, slot, probability, model_version, state):
            values = {"probability": probability, "model": model_version, "state": state}
            return {**_event_values(event), **_entry_values(event, slot), **values}
        case findings.BigPayout(event, payout):
            values = {"market": payout.market, "selection": payout.selection, "amount": payout.amount}
            return {**_event_values(event), **values, **_result_values(event)}
        case findings.GradeResult(event):
            return {**_event_values(event), **_result_values(event)}
        case findings.Surprise(event, slot, probability):
            values = {**_entry_values(event, slot), "probability": probability}
            return {**_event_values(event), **values, **_result_values(event)}
        case findings.CalledOff(session):
            values = {"session": _session_text(session), "session_key": session.session_key, "events": session.events}
            return {**_session_values(session), **values, "numbers": session.called_off_numbers}
        case findings.Daily(digest):
            return _digest_values(digest)


def _digest_values(digest: findings.Digest) -> dict[str, object]:
    return {
        "source": digest.source,
        "date": digest.day,
        "events": digest.events,
        "statuses": [{"status": status, "count": digest.statuses[status]} for status in sorted(digest.statuses)],
        "payouts": [{"event": event, **payout._asdict()} for event, payout in digest.best_payouts],
        "scored_events": digest.scored_events,
        "log_loss": digest.log_loss,
        "base_log_loss": digest.base_log_loss,
        "base_events": digest.base_events,
    }


def _session_values(session: findings.SessionDetails) -> dict[str, object]:
    return {
        "source": session.source,
        "venue_name": _venue_name(session),
        "venue": session.venue,
        "date": session.day,
        "title": session.title,
        "grade": session.grade,
    }


def _event_values(event: findings.EventDetails) -> dict[str, object]:
    return {
        "event": _event_text(event),
        "event_key": event.event_key,
        "number": event.number,
        "start": event.scheduled_at,
        **_session_values(event.session),
    }


def _entry_values(event: findings.EventDetails, slot: int) -> dict[str, object]:
    return {"entry": _entry_text(event, slot), "slot": slot, "name": event.names.get(slot)}


def _result_values(event: findings.EventDetails) -> dict[str, object]:
    places = [
        {"place": place, "slot": slot, "name": event.names.get(slot), "entry": _entry_text(event, slot)}
        for place, slot in event.places
    ]
    first = ", ".join(f"{place}. {_entry_text(event, slot)}" for place, slot in event.places if place <= 3)
    return {"result": RenderedText(first) if first else None, "places": places}


def _venue_name(session: findings.SessionDetails) -> str:
    return session.venue_name or f"venue {session.venue}"


def _session_text(session: findings.SessionDetails) -> RenderedText:
    return RenderedText(f"{escape(_venue_name(session))} {session.day.isoformat()}")


def _event_text(event: findings.EventDetails) -> RenderedText:
    start = f", start {event.scheduled_at:%Y-%m-%d %H:%M} UTC" if event.scheduled_at else ""
    return RenderedText(f"{_session_text(event.session)}, event {event.number}{start}")


def _entry_text(event: findings.EventDetails, slot: int) -> RenderedText:
    name = event.names.get(slot)
    return RenderedText(f"{slot} {escape(name)}" if name else f"slot {slot}")
