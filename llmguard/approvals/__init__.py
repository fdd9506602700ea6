"""Approvals: the state machine of what waits for people, and its one writer."""

from llmguard.approvals.approvals import SWEEP, Approvals
from llmguard.approvals.states import STATES, TRANSITIONS, UNDECIDED
from llmguard.approvals.waiting import WaitingRoom

__all__ = ["STATES", "SWEEP", "TRANSITIONS", "UNDECIDED", "Approvals", "WaitingRoom"]
