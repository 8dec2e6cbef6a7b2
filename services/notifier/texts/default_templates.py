"""The templates of rules that have none. A text states a probability or a fact and never promises a profit."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from services.notifier.kinds import PIPELINE_KINDS

_ALERT = """\
**{% if state == "acknowledged" %}Acknowledged: {% elif state == "resolved" %}Resolved: {% endif %}{{ title }}** · \
{{ subject }}
{% if not is_second %}
{{ summary }}
Since {{ opened_at|time }}.
{% if acknowledged_at is not none %}
Acknowledged by {{ acknowledged_by }}, {{ acknowledged_at|time }}.
{% endif %}
{% endif %}
{% if state == "resolved" %}
Resolved {{ resolved_at|time }}, after {{ duration }}.
{% else %}
{{ meaning }}
{% for command in commands %}
`{{ command }}`
{% endfor %}
Runbook: {{ runbook }}
{% endif %}
"""
_TEMPLATES = {
    "tip": """\
**Favourite** · {{ event }}
{{ entry }}: win probability {{ probability|percent }}, predicted by {{ model }}
Based on the {{ state }}. This is a probability, not advice; no return is promised.
""",
    "big-payout": """\
**Big payout** · {{ event }}
{{ market }} {{ selection }} paid {{ amount|number }} per 100 staked
{% if result is not none %}
{{ result }}
{% endif %}
""",
    "grade": """\
**Final result** · {{ event }}
{% if title %}
{{ title }} (grade {{ grade }})
{% endif %}
{% if result is not none %}
{{ result }}
{% endif %}
""",
    "surprise": """\
**Surprise** · {{ event }}
{{ entry }} won; our last prediction gave a win probability of {{ probability|percent }}
""",
    "called-off": """\
**Called off** · {{ session }}
{{ numbers|length }} of {{ events|plural("event") }} will not take place: {{ numbers|join(", ") }}
""",
    "daily": """\
**Summary** · {{ source }} {{ date }}
{{ events|plural("event") }}: \
{% for each in statuses %}{{ each.count }} {{ each.status }}{% if not loop.last %}, {% endif %}{% endfor %}
{% if payouts %}
Highest payouts per 100 staked:
{% endif %}
{% for each in payouts %}
{{ each.event }}: {{ each.selection }} paid {{ each.amount|number }}
{% endfor %}
{% if log_loss is not none and base_log_loss is not none %}
Predictions: log loss {{ log_loss|decimals(4) }} nats over {{ scored_events|plural("event") }}; the base rates of \
{{ base_events|plural("event") }} before this day give {{ base_log_loss|decimals(4) }} (lower is better)
{% endif %}
""",
    **dict.fromkeys(PIPELINE_KINDS, _ALERT),
}
DEFAULT_TEMPLATES: Mapping[str, str] = MappingProxyType(_TEMPLATES)
"""By kind of finding."""
