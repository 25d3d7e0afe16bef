"""When imported rows may serve: `python -m loadtests.imports --data DIR [DIR ...] --seeds 20`.

3,000 recorded conversations are imported and learnt, then live requests come, in one process on a virtual
clock. Four scenarios: the live requests are of the same stream; of another mix (the import knew half of
the classes); another teacher answers one in ten otherwise; the app has changed its template. With
`--imported serve` the policy lets imported rows certify what they taught, so that it serves at once: the
question is then how soon what is wrong ends, by the drift alarm or by the audits that are to confirm it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import msgspec

from gateway.api.auth import OPEN
from gateway.demo.tickets import Pair
from gateway.harvest.base import Row
from gateway.harvest.conversations import Conversation
from gateway.harvest.sources import Record
from gateway.processes.record_binder import Owner, RecordBinder
from gateway.settings import Learn, Policies, Settings
from gateway.specialists.base import Encoder
from gateway.specialists.encoders import create_encoder
from loadtests.datasets import read_data
from loadtests.datasets.public_source import cache_folder
from loadtests.in_process import StoredEncoder, TrainingMemory, open_gateway
from loadtests.in_process.gateway import InProcessGateway

Scenario = Literal["same stream", "other mix", "other teacher", "changed template"]
Trust = Literal["confirm", "serve"]
IMPORTED, LIVE = 3_000, 600
SOON = 300
"""Live requests after which the same stream is to be served."""
FEW_AUDITS = 60
"""Audits after the first local answer within which what is wrong must be in alarm."""
_STEP = 10
"""Live requests between two looks of the learner; 2 s in service."""
_MODEL = "gpt-4o"
_ALPHA = 0.05
_POLICY = "policies:\n  - name: five-percent\n    alpha: {alpha}\n    imported: {imported}\n"


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `first_local` is the number of the first live request that was answered locally."""

    data: str
    scenario: Scenario
    seed: int
    imported: Trust
    first_local: int | None
    served: int
    wrong: int
    audits: int
    """Since the first local answer."""
    alarm_after: int | None
    """Audits from the first local answer to the alarm."""
    refuted_after: int | None
    """The same until live audits refuted what it stood on, with no alarm."""

    @property
    def is_good(self) -> bool:
        """Whether the bar of its scenario is kept."""
        if self.scenario == "same stream":
            return self.first_local is not None and self.first_local <= SOON
        has_alarm = self.alarm_after is not None and self.alarm_after <= FEW_AUDITS
        if self.scenario == "changed template":
            return not self.served
        if self.imported == "serve":
            # What keeps its promise needs no alarm.
            return has_alarm or self.wrong <= _ALPHA * self.served
        return not self.served or (self.scenario == "other mix" and has_alarm)


class Setup(msgspec.Struct, frozen=True):
    """What one run is made of: the data set, who the live requests come from, and what the policy says."""

    folder: Path
    scenario: Scenario
    seed: int
    imported: Trust
    live: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every scenario; 3 if a bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.imports", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of data sets")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--scenario", choices=get_args(Scenario), action="append")
    parser.add_argument("--imported", choices=get_args(Trust), default="confirm", help="of the policy")
    parser.add_argument("--live", type=int, default=LIVE, help="live requests (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="a line is added to it after each run")
    parser.add_argument(
        "--vectors",
        type=Path,
        default=cache_folder("").parent / "vectors",
        help="folder of the vectors that earlier runs computed (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    scenarios = options.scenario or get_args(Scenario)
    is_good = True
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for folder in options.data:
            encoder = StoredEncoder(create_encoder("minilm"), options.vectors, f"imports {folder.name}")
            with TrainingMemory() as memory:
                for scenario in scenarios:
                    run = _run(Setup(folder, scenario, seed, options.imported, options.live), encoder, memory)
                    is_good = is_good and run.is_good
                    print(_describe(run), flush=True)
                    if options.json:
                        with options.json.open("ab") as file:
                            file.write(msgspec.json.encode(run) + b"\n")
            encoder.save()
    return 0 if is_good else 3


def _run(setup: Setup, encoder: Encoder, memory: TrainingMemory) -> Figures:
    scenario, seed = setup.scenario, setup.seed
    pairs = read_data(setup.folder, seed, IMPORTED + setup.live).pairs
    recorded, live = pairs[:IMPORTED], pairs[IMPORTED : IMPORTED + setup.live]
    answers = sorted({pair.answer for pair in pairs})
    if scenario == "other mix":
        known = set(answers[::2])
        recorded = [pair for pair in recorded if pair.answer in known]
    if scenario == "other teacher":
        live = [_answer_otherwise(pair, answers) for pair in live]
    if scenario == "changed template":
        live = [_change_template(pair) for pair in live]
    with tempfile.TemporaryDirectory() as scratch:
        policy = _POLICY.format(alpha=_ALPHA, imported=setup.imported)
        (Path(scratch) / "policies.yaml").write_text(policy)
        rows = list(_bind(recorded, Path(scratch)))
        learn = Learn(recipes=("head",), seed=seed)
        with open_gateway(Path(scratch), encoder, learn, memory=memory) as gateway:
            gateway.import_rows(rows)
            gateway.learn()
            return asyncio.run(_ask_all(gateway, live, setup))


async def _ask_all(gateway: InProcessGateway, live: Sequence[Pair], setup: Setup) -> Figures:
    first_local = alarm_after = refuted_after = None
    served = wrong = before = 0
    for number, pair in enumerate(live, start=1):
        answer = await gateway.answer(pair, _MODEL)
        if answer.decision == "local":
            served, wrong = served + 1, wrong + (not answer.agrees)
            if first_local is None:
                first_local, before = number, gateway.count_audits()
        if number % _STEP == 0:
            gateway.watch()
            gateway.learn()
        if first_local is not None and not gateway.is_serving():
            # What is served later stands on a certificate that was earned live.
            audits = gateway.count_audits() - before
            alarm_after, refuted_after = (audits, None) if gateway.is_in_alarm() else (None, audits)
            break
    return Figures(
        data=setup.folder.name,
        scenario=setup.scenario,
        seed=setup.seed,
        imported=setup.imported,
        first_local=first_local,
        served=served,
        wrong=wrong,
        audits=gateway.count_audits() - before if first_local is not None else 0,
        alarm_after=alarm_after,
        refuted_after=refuted_after,
    )


def _bind(pairs: Sequence[Pair], policies: Path) -> Iterator[Row]:
    """Yield the rows that the import makes of `pairs`."""
    settings = Settings(policies=Policies(folder=str(policies)))
    binder = RecordBinder(settings, Owner(caller=OPEN, tenant=OPEN), {"model": _MODEL}, b"")
    for number, pair in enumerate(pairs):
        answer = {"role": "assistant", "content": pair.answer}
        conversation = Conversation(fields={"messages": pair.messages}, answer=answer)
        row, why = binder.bind(Record(file="", number=number, conversation=conversation))
        if row is None:
            raise ValueError(why)
        yield row


def _answer_otherwise(pair: Pair, answers: Sequence[str]) -> Pair:
    """Return `pair` with another answer for one text in ten, always the same one."""
    draw = zlib.crc32(json.dumps(pair.messages[-1]).encode())
    if draw % 10:
        return pair
    others = [answer for answer in answers if answer != pair.answer]
    return msgspec.structs.replace(pair, answer=others[draw // 10 % len(others)])


def _change_template(pair: Pair) -> Pair:
    system = {"role": "system", "content": "Another prompt: which of the known topics is this about?"}
    rest = [message for message in pair.messages if message["role"] != "system"]
    return msgspec.structs.replace(pair, messages=[system, *rest])


def _describe(run: Figures) -> str:
    first = f"first local answer at request {run.first_local}" if run.first_local else "nothing served"
    alarm = "" if run.alarm_after is None else f", alarm after {run.alarm_after} audits"
    refuted = "" if run.refuted_after is None else f", refuted after {run.refuted_after} audits"
    served = f", {run.served} served, {run.wrong} of them wrong" if run.served else ""
    verdict = "ok" if run.is_good else "MISSED"
    return (
        f"{run.data}  {run.scenario:<16}  seed {run.seed:>2}  {verdict:<6}  {first}{served}{alarm}{refuted}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
