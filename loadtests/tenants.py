"""Shows that two tenants with the same task never meet: mixed requests, no foreign answer.

`python -m loadtests.tenants` starts a gateway whose two tenants have a certified specialist each,
for one template and one set of texts, and sends 10,000 requests of both in turn: plain, streamed,
with another date in the template, local by header, by the name of their own specialist and of the
other's. With `--templates 50` each tenant has fifty templates that are near copies of each other, and a
specialist for each. Exits with 1 if an answer is foreign or another template's, or if a tenant is hardly
served at all.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import aiohttp
import msgspec

from gateway.core import OWN_PREFIX, Request
from gateway.demo.stack import POLL_S, Stack
from gateway.routing.base import task_name
from gateway.specialists.encoders import create_encoder
from gateway.store.home import Home
from gateway.store.state import open_state
from loadtests.support.scripted import Place, found_task, read_body

REQUESTS = 10_000
AT_ONCE = 16
TENANTS = ("shop", "bank")
MODEL = "gpt-4o"
PROMPT = "Sort the message of a customer{shop} into one of our labels. Today is {day}. Answer with the label."
OWN_DAY = "2026-03-01"
TEXTS = tuple(f"Message {number}: where is my order, and when do I get my money?" for number in range(200))
POLICY = """
policies:
  - name: unaudited  # the teacher cannot know the tenant, so it agrees with neither specialist
    audit: {shadow: 0.0, settling: 0.0, certified: 0.0}
"""
LEAST_LOCAL = 0.8
"""Share of a tenant's requests, without those for the other's specialist, that its own must answer:
else nothing was shown."""

Kind = Literal["plain", "streamed", "dated", "local", "named", "foreign"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Tenant(msgspec.Struct, frozen=True):
    """One tenant with one of its templates: key and task, and what the specialist answers to everything."""

    name: str
    key: str
    prompt: str
    task: str
    answer: str


class Asked(msgspec.Struct, frozen=True):
    """One request to send."""

    tenant: Tenant
    other: Tenant
    kind: Kind
    text: str


class Got(msgspec.Struct, frozen=True):
    """The reply to it."""

    asked: Asked
    status: int
    served_by: str
    text: str

    @property
    def is_foreign(self) -> bool:
        """Whether any of it comes from the other tenant."""
        other = self.asked.other
        return other.answer in self.text or self.served_by.startswith(other.task)

    @property
    def is_misrouted(self) -> bool:
        """Whether a specialist answered that is not the template's own."""
        return self.served_by.startswith("task-") and not self.is_local

    @property
    def is_unsure(self) -> bool:
        """Whether a near copy of the template went to the teacher."""
        return self.asked.kind == "dated" and self.served_by == "teacher"

    @property
    def is_local(self) -> bool:
        """Whether the template's own specialist answered."""
        return self.text == self.asked.tenant.answer and self.served_by.startswith(self.asked.tenant.task)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one run; the last three are per tenant."""

    requests: int
    templates: int
    """Of each tenant."""
    foreign: int
    misrouted: int
    """Answers of a specialist that is not the template's own; the foreign ones are among them."""
    statuses: dict[str, int]
    local: dict[str, int]
    teacher: dict[str, int]
    refused: dict[str, int]
    """Requests for the other tenant's specialist, refused as for a model that does not exist."""
    unsure: dict[str, int]
    """With several templates: near copies that the teacher answered, as more than one is as near."""

    @property
    def holds(self) -> bool:
        """Whether tenants and templates never met, and both tenants were served."""
        is_served = all(
            own >= LEAST_LOCAL * (self.requests / len(self.local) - self.refused[name] - self.unsure[name])
            for name, own in self.local.items()
        )
        return self.foreign == self.misrouted == 0 and is_served


def main(arguments: Sequence[str] | None = None) -> int:
    """Send the requests, print and write the figures; return 1 if an answer was foreign."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.tenants", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--templates", type=int, default=1, help="near copies of each tenant (1)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args(arguments)

    figures = measure(options.requests, options.seed, options.templates)
    encoded = msgspec.json.format(msgspec.json.encode(figures), indent=2)
    if options.json:
        options.json.write_bytes(encoded)
    print(encoded.decode())
    return 0 if figures.holds else 1


def measure(requests: int, seed: int = 1, templates: int = 1) -> Figures:
    """Send `requests` to a new gateway of two tenants with so many `templates` each; return the figures."""
    with tempfile.TemporaryDirectory(prefix="stepdown-tenants-") as name:
        home, scratch = Home(Path(name) / "home"), Path(name) / "scratch"
        encoder = create_encoder("minilm")
        with open_state(home) as state:
            keys = [(name, state.keys.create(name)[1]) for name in TENANTS]
            pairs = [[_make_tenant(*each, number) for each in keys] for number in range(templates)]
            for tenant in itertools.chain(*pairs):
                asked = _read(tenant.prompt.format(day=OWN_DAY))
                place = Place(state, home, scratch / tenant.answer, encoder)
                found_task(tenant.task, f"tenant:{tenant.name}", asked, tenant.answer, place)
        policies = Path(name) / "policies"
        policies.mkdir()
        (policies / "default.yaml").write_text(POLICY)
        environment = {"STEPDOWN_LEARN_ENABLED": "false"}
        with Stack(home=home, policies=policies, environment=environment, is_open=False) as stack:
            while not stack.status()["specialists_ready"]:
                time.sleep(POLL_S)
            return _figures(asyncio.run(_send(stack, list(_mix(pairs, requests, seed)))), templates)


def _make_tenant(name: str, key: str, number: int) -> Tenant:
    """Return a tenant with the template of that number; the first names no shop."""
    prompt = PROMPT.replace("{shop}", f" of shop {number}" if number else "")
    task = task_name(_read(prompt.format(day=OWN_DAY)).template, f"tenant:{name}")
    return Tenant(name, key, prompt, task, f"label-{number}-of-{name}")


def _read(prompt: str) -> Request:
    return read_body(msgspec.json.encode(_body(prompt, TEXTS[0])))


def _body(prompt: str, text: str, model: str = MODEL, *, stream: bool = False) -> dict[str, object]:
    messages = [{"role": "system", "content": prompt}, {"role": "user", "content": text}]
    return {"model": model, "messages": messages, "stream": stream}


def _mix(pairs: Sequence[Sequence[Tenant]], requests: int, seed: int) -> Iterator[Asked]:
    """Yield requests of both tenants in turn, so that each text is asked by both at nearly one time."""
    chance = random.Random(seed)
    for _ in range(requests // 2):
        text, kind, tenants = chance.choice(TEXTS), chance.choice(KINDS), chance.choice(pairs)
        for tenant, other in (tenants, tenants[::-1]):
            yield Asked(tenant, other, kind, text)


async def _send(stack: Stack, requests: Sequence[Asked]) -> list[Got]:
    turns = iter(requests)
    async with aiohttp.ClientSession(f"{stack.gateway_url}/v1/") as session:

        async def ask_in_turn() -> list[Got]:
            return [await _ask(session, asked) for asked in turns]

        parts = await asyncio.gather(*(ask_in_turn() for _ in range(AT_ONCE)))
    return [got for part in parts for got in part]


async def _ask(session: aiohttp.ClientSession, asked: Asked) -> Got:
    headers = {"authorization": f"Bearer {asked.tenant.key}"}
    prompt, model = asked.tenant.prompt.format(day=OWN_DAY), MODEL
    match asked.kind:
        case "dated":
            prompt = asked.tenant.prompt.format(day="2026-04-17")
        case "local":
            headers["x-stepdown-mode"] = "local"
        case "named":
            model = OWN_PREFIX + asked.tenant.task
        case "foreign":
            model = OWN_PREFIX + asked.other.task
    body = _body(prompt, asked.text, model, stream=asked.kind == "streamed")
    async with session.post("chat/completions", json=body, headers=headers) as reply:
        content = await reply.read()
        served_by = reply.headers.get("x-stepdown-served-by", "")
        text = _streamed_text(content) if asked.kind == "streamed" else _whole_text(content)
        return Got(asked, reply.status, served_by, text)


def _whole_text(content: bytes) -> str:
    """Return the answer's text, or the whole error."""
    answer: dict[str, Any] = msgspec.json.decode(content)
    return str(answer["choices"][0]["message"]["content"]) if "choices" in answer else content.decode()


def _streamed_text(content: bytes) -> str:
    events = [line.removeprefix(b"data: ") for line in content.splitlines() if line.startswith(b"data: {")]
    choices = [choice for event in events for choice in msgspec.json.decode(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def _figures(replies: Sequence[Got], templates: int) -> Figures:
    def per_tenant(chosen: Sequence[Got]) -> dict[str, int]:
        counts = Counter(got.asked.tenant.name for got in chosen)
        return {name: counts[name] for name in TENANTS}

    return Figures(
        requests=len(replies),
        templates=templates,
        misrouted=sum(got.is_misrouted for got in replies),
        foreign=sum(got.is_foreign for got in replies),
        statuses=dict(sorted(Counter(str(got.status) for got in replies).items())),
        local=per_tenant([got for got in replies if got.is_local]),
        teacher=per_tenant([got for got in replies if got.served_by == "teacher"]),
        unsure=per_tenant([got for got in replies if templates > 1 and got.is_unsure]),
        refused=per_tenant([got for got in replies if got.asked.kind == "foreign" and got.status == 404]),
    )


if __name__ == "__main__":
    sys.exit(main())
