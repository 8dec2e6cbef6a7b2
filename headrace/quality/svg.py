"""Small pictures for the page, as inline SVG. Their colours are those of the page; each has its values as a text."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

_METER = Markup(
    '<svg class="meter" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{label}">'
    '<rect class="track" width="100" height="10"/><rect class="fill" width="{width}" height="10"/></svg>'
)
_BOX = Markup(
    '<svg class="box" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{label}">'
    '<line class="axis" x1="0" y1="5" x2="100" y2="5"/><rect class="track" x="{low}" y="2" width="{wide}" height="6"/>'
    '<rect class="fill" x="{quarter}" y="0" width="{middle}" height="10"/></svg>'
)
_BAR = Markup('<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}"><title>{label}</title></rect>')
_BARS = Markup('<svg class="bars" viewBox="0 0 {width} 50" preserveAspectRatio="none" role="img" aria-label="{label}">')
_END = Markup("</svg>")
BAR_WIDTH = 10


def meter(share: float) -> Markup:
    """A bar for a share from 0 to 1."""
    return _METER.format(label=f"{share:.0%}", width=round(100 * min(1.0, max(0.0, share)), 2))


def box(values: Sequence[float]) -> Markup:
    """Minimum, 1 %, 25 %, median, 75 %, 99 % and maximum on a common scale."""
    low, *_, high = values
    scale = 100 / (high - low) if high > low else 0.0
    first, quarter, last_quarter, last = (round((values[at] - low) * scale, 2) for at in (1, 2, 4, 5))
    return _BOX.format(
        label=f"half of the values from {values[2]:.4g} to {values[4]:.4g}",
        low=first,
        wide=round(max(1.0, last - first), 2),
        quarter=quarter,
        middle=round(max(1.0, last_quarter - quarter), 2),
    )


def bars(values: Sequence[float], labels: Sequence[str]) -> Markup:
    """A bar for each value; a value of 0 is a mark of full height in another colour."""
    highest = max(values, default=0) or 1
    parts = [_BARS.format(width=max(1, len(values) * BAR_WIDTH), label=f"{len(values)} days")]
    for at, (value, label) in enumerate(zip(values, labels, strict=True)):
        height = round(50 * value / highest, 2) if value else 50
        kind = "fill" if value else "gap"
        x, y = at * BAR_WIDTH + 1, round(50 - height, 2)
        parts.append(_BAR.format(kind=kind, x=x, y=y, width=BAR_WIDTH - 2, height=height, label=label))
    return Markup("").join([*parts, _END])
