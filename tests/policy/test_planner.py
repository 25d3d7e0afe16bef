from __future__ import annotations

from typing import Any

import pytest

from gateway.core import Constraints, Grant, Mode, Request, Resource, RiskTarget, Trainable
from gateway.errors import RequestError
from gateway.policy.planner import PolicyPlanner
from gateway.policy.schema import AuditShares, CertificateRules, Policy
from tests.support.builders import request


def asking(model: str = "gpt-4o", caller: str = "app", mode: Mode = "auto", tenant: str = "shop") -> Request:
    return request(model=model, caller=caller, mode=mode, tenant=tenant)


def planner(*policies: Policy, spent: float = 0.0) -> PolicyPlanner:
    return PolicyPlanner(policies, lambda _: spent)


@pytest.mark.parametrize(
    ("asked", "policy"),
    [
        (asking("gpt-4o", "support-1"), "support"),
        (asking("gpt-4o", "sales"), "gpt"),
        (asking("o3", "sales"), "rest"),
        (asking("GPT-4o", "sales"), "rest"),
        (asking("gpt-4o\nx", "sales"), "gpt"),
    ],
)
def test_the_first_policy_that_matches_model_and_caller_decides(asked: Request, policy: str) -> None:
    rules = planner(
        Policy(name="support", models=("gpt-*",), callers=("support-*",)),
        Policy(name="gpt", models=("gpt-*", "davinci")),
        Policy(name="rest"),
    )

    assert rules.plan(asked).policy == policy


def test_a_plan_carries_the_policys_numbers() -> None:
    policy = Policy(
        name="p",
        alpha=0.05,
        delta=0.2,
        audit=AuditShares(shadow=0.4, certified=0.1),
        harvest=False,
        keep_days=7,
    )

    plan = planner(policy).plan(asking())

    assert (plan.alpha, plan.delta, plan.shadow_audit_share, plan.audit_share) == (0.05, 0.2, 0.4, 0.1)
    assert (plan.may_serve, plan.because, plan.may_harvest, plan.may_escalate) == (True, "", False, True)
    assert plan.keep_days == 7


def test_stored_responses_are_served_only_if_the_policy_allows_it() -> None:
    plans = [planner(Policy(name="p", stored_responses=who)).plan(asking()) for who in ("teacher", "serve")]

    assert [plan.may_serve_stored for plan in plans] == [False, True]


def test_imported_rows_are_enough_only_where_the_policy_says_so() -> None:
    rules = planner(
        Policy(name="trusting", callers=("logs",), alpha=0.05, imported="serve"), Policy(name="p", alpha=0.05)
    )

    trusting, other = (rules.plan(asking(caller=caller)).target for caller in ("logs", "app"))

    assert (trusting.evidence, other.evidence) == ("imported", "live")
    assert trusting.confirmed == other
    assert set(rules.risk_targets("gpt-4o")) == {trusting, other}


def test_a_request_that_no_policy_matches_goes_to_the_teacher_and_is_not_kept() -> None:
    plan = planner(Policy(name="p", models=("other",))).plan(asking())

    assert (plan.may_serve, plan.because, plan.may_harvest) == (False, "no policy matches", False)
    assert (plan.audit_share, plan.shadow_audit_share) == (0.0, 0.0)


def test_a_forbidden_model_is_refused_and_named() -> None:
    with pytest.raises(RequestError, match="policy 'p' forbids model 'gpt-4o'") as refused:
        planner(Policy(name="p", forbid=True)).plan(asking())

    assert (refused.value.status, refused.value.param, refused.value.code) == (
        403,
        "model",
        "forbidden_by_policy",
    )


def test_a_policy_without_local_service_says_so() -> None:
    plan = planner(Policy(name="p", serve=False)).plan(asking())

    assert (plan.may_serve, plan.because) == (False, "policy says teacher")


def test_a_client_may_ask_for_the_teacher() -> None:
    plan = planner(Policy(name="p")).plan(asking(mode="teacher"))

    assert (plan.may_serve, plan.because) == (False, "teacher asked for")


def test_mode_local_does_not_overrule_a_policy_without_local_service() -> None:
    assert not planner(Policy(name="p", serve=False)).plan(asking(mode="local")).may_serve


@pytest.mark.parametrize(("spent", "may_escalate"), [(9.49, True), (9.5, False), (11.0, False)])
def test_a_spent_budget_forbids_escalation(spent: float, may_escalate: bool) -> None:
    plan = planner(Policy(name="p", usd_per_day=10.0), spent=spent).plan(asking())

    assert plan.may_escalate is may_escalate


@pytest.mark.parametrize(
    ("spent", "of_which"),
    [
        ({"day": 10.0, "month": 10.0}, "day"),
        ({"day": 10.0, "month": 100.0}, "month"),
        ({"day": 0.0, "month": 100.0}, "month"),
        ({"day": 9.6, "month": 0.0}, "day"),
        ({"day": 10.0, "month": 96.0}, "day"),
    ],
)
def test_a_spent_budget_says_how_long_it_is_for(spent: dict[str, float], of_which: str) -> None:
    """Where both are spent, the month: a client that comes back at midnight would be refused again."""
    policies = [Policy(name="p", usd_per_day=10.0, usd_per_month=100.0)]
    plan = PolicyPlanner(policies, lambda budget: spent[budget.period]).plan(asking())

    assert (plan.may_escalate, plan.spent_period) == (False, of_which)


@pytest.mark.parametrize(("spent", "is_reserve", "audit_share"), [(9.6, True, 0.02), (10.0, False, 0.0)])
def test_the_last_share_of_a_budget_is_for_audits(spent: float, is_reserve: bool, audit_share: float) -> None:
    """Certified traffic stays watched; what nobody is served from is not drawn any more."""
    plan = planner(Policy(name="p", usd_per_day=10.0), spent=spent).plan(asking())

    assert (plan.is_reserve, plan.audit_share) == (is_reserve, audit_share)
    assert plan.shadow_audit_share == 0.0


@pytest.mark.parametrize(
    ("share", "scope"), [("tenant", "tenant:shop"), ("policy", "policy:p"), ("all", "all")]
)
def test_what_one_tenant_taught_is_shared_only_if_the_policy_says_so(share: Any, scope: str) -> None:
    rules = planner(Policy(name="p", share=share))

    assert rules.plan(asking(tenant="shop")).scope == scope
    assert rules.scope("gpt-4o", "anyone", "shop", Grant()) == scope


def test_a_specialist_must_meet_every_policy_that_may_serve_its_model() -> None:
    rules = planner(
        Policy(name="strict", callers=("support-*",), alpha=0.02),
        Policy(name="lax", alpha=0.05, certificate=CertificateRules(days=7)),
        Policy(name="never", serve=False, alpha=0.01),
        Policy(name="other", models=("o3",), alpha=0.1),
    )

    assert rules.risk_targets("gpt-4o") == (RiskTarget(0.02, 0.1, 30.0), RiskTarget(0.05, 0.1, 7.0))


def test_what_a_specialist_may_take_is_the_less_of_policy_and_settings() -> None:
    policies = [Policy(name="quick", models=("a",), max_latency_ms=50.0), Policy(name="any")]
    rules = PolicyPlanner(policies, lambda _: 0.0, constraints=Constraints(max_latency_ms=90.0))

    assert rules.plan(asking("a")).constraints == Constraints(max_latency_ms=50.0)
    assert rules.plan(asking("b")).constraints == Constraints(max_latency_ms=90.0)
    assert [each.constraints.max_latency_ms for each in rules.requirements("a")] == [50.0, 90.0]


def test_a_policy_for_paths_without_specialists_asks_nothing_of_them() -> None:
    """One that opens batches is no reason to say that a certificate is too weak for a policy."""
    rules = planner(
        Policy(name="batches", paths=("/v1/batches*",), alpha=0.01),
        Policy(name="reads", methods=("GET",), alpha=0.01),
        Policy(name="responses", paths=("/v1/responses",), alpha=0.05),
        Policy(name="rest", alpha=0.2),
    )

    assert [target.alpha for target in rules.risk_targets("gpt-4o")] == [0.05, 0.2]


def test_a_spent_budget_stops_audits_and_not_local_service() -> None:
    plan = planner(Policy(name="p", usd_per_day=0.0)).plan(asking())

    assert (plan.may_serve, plan.audit_share, plan.shadow_audit_share) == (True, 0.0, 0.0)


def test_each_policy_has_a_budget_of_its_own() -> None:
    spent = {"a": 5.0, "b": 0.0}
    rules = PolicyPlanner(
        [Policy(name="a", models=("x",), usd_per_day=1.0), Policy(name="b", usd_per_day=1.0)],
        lambda budget: spent[budget.policy],
    )

    assert not rules.plan(asking("x")).may_escalate
    assert rules.plan(asking("y")).may_escalate


def test_a_policy_that_a_key_was_not_given_is_skipped() -> None:
    rules = planner(Policy(name="first"), Policy(name="second"), Policy(name="third"))
    asked = request(grant=Grant(policies=("second", "third")))

    assert rules.plan(asked).policy == "second"


def test_a_key_uses_the_models_that_it_was_given() -> None:
    rules = planner(Policy(name="p"))
    grant = Grant(models=("gpt-4o*", "stepdown/*"))
    assert rules.plan(request(model="gpt-4o-mini", grant=grant)).policy == "p"

    with pytest.raises(
        RequestError, match=r"may not use the model 'o3'; its models: gpt-4o\*, stepdown"
    ) as no:
        rules.plan(request(model="o3", grant=grant))

    assert (no.value.status, no.value.code) == (403, "model_not_allowed")


def test_a_refusal_names_its_policy() -> None:
    with pytest.raises(RequestError) as refusal:
        planner(Policy(name="interns", forbid=True)).plan(asking())

    assert refusal.value.policy == "interns"


def test_a_key_that_was_given_policies_gets_nothing_beside_them() -> None:
    """Without a policy nothing limits what the teacher costs."""
    rules = planner(Policy(name="support", models=("gpt-4o*",)), Policy(name="default"))

    with pytest.raises(RequestError, match="None of the policies of key 'app' matches: support") as refusal:
        rules.plan(request(model="o3", caller="app", grant=Grant(policies=("support",))))

    assert (refusal.value.status, refusal.value.code) == (403, "forbidden_by_policy")


def test_a_key_that_was_given_models_uses_no_path_whose_model_cannot_be_read() -> None:
    grant = Grant(models=("gpt-4o*",))

    with pytest.raises(RequestError, match="a path without a readable model"):
        planner(Policy(name="p")).plan(request(model="", grant=grant))


def test_a_policy_that_forbids_binds_a_key_that_does_not_name_it() -> None:
    """A key's list of policies chooses among rules; it is no way around a refusal."""
    rules = planner(Policy(name="no-giant", models=("o3*",), forbid=True), Policy(name="support"))

    with pytest.raises(RequestError, match="no-giant"):
        rules.plan(request(model="o3", caller="app", grant=Grant(policies=("support",))))


@pytest.mark.parametrize("model", ["O3-pro", " o3-pro", "o3-pro\n"])
def test_no_other_spelling_of_a_model_gets_past_a_policy_that_forbids(model: str) -> None:
    policies = [Policy(name="no-giant", models=("o3*",), forbid=True), Policy(name="rest")]
    rules = PolicyPlanner(policies, lambda _: 0.0, has_own_key=True)

    with pytest.raises(RequestError, match=r"no-giant|space around its name"):
        rules.plan(request(model=model))


def test_fifty_policies_are_searched_once_for_each_kind_of_request() -> None:
    """And what is remembered for one path, model or key is not taken for another."""
    rules = planner(
        Policy(name="files", paths=("/v1/files*",)),
        *(Policy(name=f"p{number}", callers=(f"app-{number}",)) for number in range(50)),
        Policy(name="rest"),
    )
    files = Resource(method="GET", path="/v1/files/f")

    for _ in range(2):
        assert rules.plan(request(caller="app-49")).policy == "p49"
        assert rules.plan(request(caller="app-48")).policy == "p48"
        assert rules.plan(request(caller="app-49", resource=files)).policy == "files"
        assert rules.plan(request(caller="app-49", grant=Grant(policies=("rest",)))).policy == "rest"


@pytest.mark.parametrize(
    ("terms", "may_harvest", "is_restricted"),
    [("yes", True, False), ("no", False, False), ("restricted", True, True)],
)
def test_the_terms_of_the_first_teacher_decide_what_is_kept(
    terms: Trainable, may_harvest: bool, is_restricted: bool
) -> None:
    """Whose answers may not be kept is neither harvested nor audited."""
    rules = PolicyPlanner([Policy(name="p")], lambda _: 0.0, first_teacher="a", terms={"a": terms, "b": "no"})

    plan = rules.plan(request())

    assert (plan.may_harvest, plan.is_restricted) == (may_harvest, is_restricted)
