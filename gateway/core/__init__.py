"""The nouns that all rooms share: Request, Plan, Route, Standing, Draft, Verdict, Answer, Outcome."""

from gateway.core.answer import Answer, Body, Header
from gateway.core.audit import Audit
from gateway.core.decision import Lane, Plan, Route, Stage, Standing, Standings, Verdict
from gateway.core.draft import Deferral, Draft, DraftRequest, DraftStream, FinishReason, Token, Trace
from gateway.core.outcome import Decision, Outcome, Reading, Usage
from gateway.core.request import OWN_PREFIX, IncomingRequest, Message, Mode, Request, SurfaceName
from gateway.core.secret import Secret

__all__ = [
    "OWN_PREFIX",
    "Answer",
    "Audit",
    "Body",
    "Decision",
    "Deferral",
    "Draft",
    "DraftRequest",
    "DraftStream",
    "FinishReason",
    "Header",
    "IncomingRequest",
    "Lane",
    "Message",
    "Mode",
    "Outcome",
    "Plan",
    "Reading",
    "Request",
    "Route",
    "Secret",
    "Stage",
    "Standing",
    "Standings",
    "SurfaceName",
    "Token",
    "Trace",
    "Usage",
    "Verdict",
]
