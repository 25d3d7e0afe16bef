"""The nouns that all rooms share: Request, Plan, Route, Certificate, Draft, Verdict, Answer, Outcome."""

from gateway.core.answer import Answer, Body, Header
from gateway.core.audit import Audit
from gateway.core.budget import Budget, Period, Reservation, find_period
from gateway.core.certificate import (
    ANY_TARGET,
    EXACT,
    NOT_CONFIRMED,
    STRATA,
    Certificate,
    Certification,
    Certifications,
    Requirement,
    RiskTarget,
    Source,
    Stage,
    Stratum,
    stratum_of,
)
from gateway.core.constraints import UNCONSTRAINED, Constraints, Footprint
from gateway.core.cost import NO_COST, Cost
from gateway.core.decision import (
    CopyStatus,
    MatchKind,
    Plan,
    PrivateKind,
    Route,
    Trainable,
    Verdict,
    copy_keys,
)
from gateway.core.draft import Deferral, Demands, Draft, DraftRequest, DraftStream, FinishReason, Token, Trace
from gateway.core.endpoint import Access, Endpoint, ModelPlace, Resource, UsagePlace
from gateway.core.grant import Grant, Limits
from gateway.core.outcome import Decision, Ending, Excerpt, Outcome, Reading, ending_of
from gateway.core.refusal import Refusal
from gateway.core.request import OWN_PREFIX, IncomingRequest, Message, Mode, Request, SurfaceName
from gateway.core.secret import Secret
from gateway.core.text_hash import hash_text, normalize_text
from gateway.core.usage import Usage

__all__ = [
    "ANY_TARGET",
    "EXACT",
    "NOT_CONFIRMED",
    "NO_COST",
    "OWN_PREFIX",
    "STRATA",
    "UNCONSTRAINED",
    "Access",
    "Answer",
    "Audit",
    "Body",
    "Budget",
    "Certificate",
    "Certification",
    "Certifications",
    "Constraints",
    "CopyStatus",
    "Cost",
    "Decision",
    "Deferral",
    "Demands",
    "Draft",
    "DraftRequest",
    "DraftStream",
    "Ending",
    "Endpoint",
    "Excerpt",
    "FinishReason",
    "Footprint",
    "Grant",
    "Header",
    "IncomingRequest",
    "Limits",
    "MatchKind",
    "Message",
    "Mode",
    "ModelPlace",
    "Outcome",
    "Period",
    "Plan",
    "PrivateKind",
    "Reading",
    "Refusal",
    "Request",
    "Requirement",
    "Reservation",
    "Resource",
    "RiskTarget",
    "Route",
    "Secret",
    "Source",
    "Stage",
    "Stratum",
    "SurfaceName",
    "Token",
    "Trace",
    "Trainable",
    "Usage",
    "UsagePlace",
    "Verdict",
    "copy_keys",
    "ending_of",
    "find_period",
    "hash_text",
    "normalize_text",
    "stratum_of",
]
