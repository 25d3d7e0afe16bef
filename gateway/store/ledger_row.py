"""What one request took and cost."""

from __future__ import annotations

import msgspec

from gateway.store.spend import Account, Sums


class LedgerRow(msgspec.Struct, frozen=True):
    """One request, or one later report of what an earlier one took."""

    at: float
    request_id: str
    tenant: str
    key: str
    policy: str
    task: str
    decision: str
    """A Decision, or "refused"."""
    endpoint: str
    requested: str
    """The model that was asked for."""
    model: str
    """The model that the price is listed for."""
    tier: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    other_units: str
    """Audio, images, searches and the like, as a JSON object; empty if there are none."""
    usd: float
    counterfactual_usd: float
    would_save_usd: float
    hedge_usd: float
    source: str
    """reported, estimated, or none for what the teacher does not bill."""
    price: str
    """listed, alias (only the answering model has a price), or unknown."""

    def account(self, day: str, model: str | None = None) -> Account:
        """Return the account of the row on `day`, under another name of its model if one is given."""
        return Account(
            day,
            self.policy,
            self.task,
            self.model if model is None else model,
            self.decision,
            self.tenant,
            self.key,
            self.endpoint,
        )

    def sums(self) -> Sums:
        """Return what the row adds to its account."""
        return Sums(
            requests=1,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            usd=self.usd,
            counterfactual_usd=self.counterfactual_usd,
            would_save_usd=self.would_save_usd,
            estimated=int(self.source == "estimated"),
            unpriced=int(self.price != "listed"),
            cached_tokens=self.cached_tokens,
            reasoning_tokens=self.reasoning_tokens,
            hedge_usd=self.hedge_usd,
            unknown_usd=self.usd if self.price == "unknown" else 0.0,
        )
