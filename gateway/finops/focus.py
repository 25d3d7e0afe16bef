"""The accounts as FOCUS, the FinOps Open Cost and Usage Specification 1.2, for the tools of finance.

Source: focus.finops.org/focus-specification/v1-2 (columns and their feature levels).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TextIO

from gateway.finops.report import Entry
from gateway.store.spend import Account, Sums

MANDATORY = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd",
    "ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName",
)  # fmt: skip
CONDITIONAL = (
    "BillingAccountType", "ChargeFrequency", "ConsumedQuantity", "ConsumedUnit", "PricingCurrency",
    "ResourceId", "ResourceName", "ResourceType", "ServiceSubcategory", "SkuId", "SubAccountId",
    "SubAccountName", "SubAccountType", "Tags",
)  # fmt: skip
# Columns of our own begin with x_, as the specification asks.
OWN = ("x_CounterfactualCost", "x_SavedCost", "x_Decision", "x_Endpoint", "x_Requests", "x_EstimatedRequests")
COLUMNS = (*MANDATORY, *CONDITIONAL, *OWN)
MTOK = 1_000_000


def write_focus(entries: Sequence[Entry], stream: TextIO, *, provider: str, account: str) -> int:
    """Write one charge for each account and day as CSV; return how many.

    `provider` is who bills, `account` the billing account.
    """
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for each, sums in entries:
        writer.writerow(_charge(each, sums, provider, account))
    return len(entries)


def _charge(account: Account, sums: Sums, provider: str, billing_account: str) -> dict[str, object]:
    day = date.fromisoformat(account.day)
    month = day.replace(day=1)
    tokens = sums.prompt_tokens + sums.completion_tokens
    # Listed and paid are one price here: discounts of the contract are not known to us.
    cost = f"{sums.usd:.10f}"
    is_local = account.decision == "local"
    return {
        "BilledCost": cost,
        "BillingAccountId": billing_account,
        "BillingAccountName": billing_account,
        "BillingAccountType": "API account",
        "BillingCurrency": "USD",
        "BillingPeriodStart": _midnight(month),
        "BillingPeriodEnd": _midnight((month + timedelta(days=32)).replace(day=1)),
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeDescription": f"{account.model or 'no model'}, {account.decision}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _midnight(day),
        "ChargePeriodEnd": _midnight(day + timedelta(days=1)),
        "ConsumedQuantity": tokens,
        "ConsumedUnit": "Tokens",
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "InvoiceIssuerName": provider,
        "ListCost": cost,
        "PricingCurrency": "USD",
        "PricingQuantity": f"{tokens / MTOK:.6f}",
        "PricingUnit": "1M Tokens",
        "ProviderName": provider,
        "PublisherName": "stepdown" if is_local else provider,
        "ResourceId": account.task,
        "ResourceName": account.task,
        "ResourceType": "Task" if account.task else "",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": account.endpoint or "API",
        "ServiceSubcategory": "Generative AI",
        "SkuId": account.model,
        "SubAccountId": account.tenant,
        "SubAccountName": account.tenant,
        "SubAccountType": "Tenant" if account.tenant else "",
        "Tags": json.dumps({"key": account.key, "policy": account.policy, "task": account.task}),
        "x_CounterfactualCost": f"{sums.counterfactual_usd:.10f}",
        "x_SavedCost": f"{sums.counterfactual_usd - sums.usd:.10f}",
        "x_Decision": account.decision,
        "x_Endpoint": account.endpoint,
        "x_Requests": sums.requests,
        "x_EstimatedRequests": sums.estimated,
    }


def _midnight(day: date) -> str:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
