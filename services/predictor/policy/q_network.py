"""The Q network: values of an event's actions, as the value of the session plus what a unit staked on each slot adds.

A unit on a slot gains, on average, its win probability times its payout if it wins, minus the unit. The network has
this structure: the probability comes from the model, the payout is 1 / (market share of the slot), and the market
shares of an event's slots sum to 1 / (payback rate of the market). Returns are sums of rare large numbers, so they only
train a bounded correction of that product. All slots share the same weights and see the mean over the event's entries;
the slot number is a feature.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from services.predictor.data.events import Floats, Ints
from services.predictor.policy.context import PolicyContext
from services.predictor.policy.environment import SESSION_STATE_WIDTH, SessionState

MAX_LOG_CORRECTION = 0.5
"""Returns change the expected payout by a factor of at most exp(+-0.5): their noise allows no more."""
INITIAL_PAYBACK = 0.75
MIN_STD = 1e-3
HEAD_WIDTH = 16


class QInputs(NamedTuple):
    """Inputs of n decisions: `win` (n, S), `slot` (n, S, F), `event` (n, E), `occupied` bool (n, S), `session_state`
    (n, 3)."""

    win: Tensor
    slot: Tensor
    event: Tensor
    occupied: Tensor
    session_state: Tensor


def q_inputs_of(
    context: PolicyContext, session_state: SessionState | None = None, dtype: torch.dtype = torch.float32
) -> QInputs:
    """Without `session_state`, the session state is zero for every event."""
    return QInputs(
        torch.from_numpy(context.win).to(dtype),
        torch.from_numpy(context.slot).to(dtype),
        torch.from_numpy(context.event).to(dtype),
        torch.from_numpy(context.occupied),
        torch.zeros(len(context), SESSION_STATE_WIDTH, dtype=dtype)
        if session_state is None
        else torch.from_numpy(session_state.matrix()).to(dtype),
    )


def inputs_at(inputs: QInputs, rows: Ints, session_state: Floats) -> QInputs:
    """The inputs of these m rows, with their session states (m, 3)."""
    at = torch.from_numpy(rows)
    return QInputs(
        inputs.win[at],
        inputs.slot[at],
        inputs.event[at],
        inputs.occupied[at],
        torch.from_numpy(session_state).to(inputs.win.dtype),
    )


class ActionValues(NamedTuple):
    """`session` (n,): value of abstaining here and continuing. `added` (n, S + 1): what each action adds to it; 0 for
    abstaining, the first, and -inf for a slot without an entry. `log_payout` (n, S): log payout per unit if the slot
    wins.
    """

    session: Tensor
    added: Tensor
    log_payout: Tensor

    @property
    def actions(self) -> Tensor:
        """(n, S + 1)."""
        return self.session[:, None] + self.added


class QNetwork(nn.Module):
    """Attribute names are tensor names in the files of models: do not rename them."""

    slot_mean: Tensor
    slot_spread: Tensor
    event_mean: Tensor
    event_spread: Tensor
    places: Tensor

    def __init__(self, slots: int, slot_width: int, event_width: int, width: int, dropout: float) -> None:
        super().__init__()
        for name, size in (("slot", slot_width), ("event", event_width)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_spread", torch.ones(size))
        self.register_buffer("places", torch.eye(slots))
        self.dropout = nn.Dropout(dropout)
        self.entry = nn.Linear(slot_width + slots, width)
        self.context = nn.Linear(event_width, width)
        self.rivals = nn.Linear(2 * width, width)
        self.backing = nn.Linear(width, 1)
        self.log_payback = nn.Parameter(torch.tensor(INITIAL_PAYBACK).log())
        self.correction = _zero_initialised_head(width + SESSION_STATE_WIDTH)
        self.session = _zero_initialised_head(width + SESSION_STATE_WIDTH)
        nn.init.zeros_(self.backing.weight)

    def forward(self, inputs: QInputs) -> ActionValues:
        hidden = self._hidden(inputs)
        log_win = inputs.win.clamp_min(1e-5).log()
        # The market shares start at the model's probabilities; the network learns the deviation.
        backing = (self.backing(hidden)[..., 0] + log_win).masked_fill(~inputs.occupied, -torch.inf)
        log_payout = (self.log_payback - torch.log_softmax(backing, dim=1)).masked_fill(~inputs.occupied, 0.0)
        session_state = inputs.session_state[:, None].expand(-1, hidden.shape[1], -1)
        log_correction = MAX_LOG_CORRECTION * torch.tanh(
            self.correction(torch.cat([hidden, session_state], dim=2))[..., 0]
        )
        # The backers of a winner get at least their stake back.
        gain = inputs.win * (log_payout.clamp_min(0.0) + log_correction).exp() - 1.0
        added = torch.cat([torch.zeros_like(gain[:, :1]), gain.masked_fill(~inputs.occupied, -torch.inf)], dim=1)
        session = self.session(torch.cat([_mean(hidden, inputs.occupied), inputs.session_state], dim=1))[:, 0]
        return ActionValues(session, added, log_payout)

    def _hidden(self, inputs: QInputs) -> Tensor:
        """(n, S, width)."""
        slot = ((inputs.slot - self.slot_mean) / self.slot_spread).clamp(-4.0, 4.0)
        event = ((inputs.event - self.event_mean) / self.event_spread).clamp(-4.0, 4.0)
        numbered = torch.cat([slot, self.places.to(slot.dtype).expand(len(slot), -1, -1)], dim=2)
        entry = torch.relu(self.entry(self.dropout(numbered)) + self.context(self.dropout(event))[:, None])
        field = _mean(entry, inputs.occupied)[:, None].expand_as(entry)
        return torch.relu(self.rivals(self.dropout(torch.cat([entry, field], dim=2))))

    @torch.no_grad()
    def standardise_by(self, inputs: QInputs) -> None:
        """Sets the means and standard deviations of the features from the entries of these decisions."""
        slot = inputs.slot[inputs.occupied]
        self.slot_mean.copy_(slot.mean(dim=0))
        self.slot_spread.copy_(slot.std(dim=0, correction=0).clamp_min(MIN_STD))
        self.event_mean.copy_(inputs.event.mean(dim=0))
        self.event_spread.copy_(inputs.event.std(dim=0, correction=0).clamp_min(MIN_STD))


def _zero_initialised_head(width: int) -> nn.Sequential:
    """(..., width) -> (..., 1), zero before training."""
    last = nn.Linear(HEAD_WIDTH, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width, HEAD_WIDTH), nn.ReLU(), last)


def _mean(values: Tensor, occupied: Tensor) -> Tensor:
    """(n, S, w), (n, S) -> (n, w): mean over the slots that have an entry."""
    mask = occupied[:, :, None].to(values.dtype)
    return (values * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1.0)
