"""The processes that a gateway is made of, in the order of their start."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from gateway.config.environment import FILE_SUFFIX
from gateway.ipc.child_process import ChildPlan
from gateway.settings import Settings
from gateway.sharing.base import PASSWORD_VARIABLE

# After its drain a worker writes what waits; an exporter of spans may take two seconds.
WORKER_END_S = 5.0
PROVIDER_SECRETS = frozenset(
    {"OPENAI_API_KEY", "OPENAI_API_KEY_FILE", "OPENAI_ADMIN_KEY", "STEPDOWN_KEY", "STEPDOWN_KEY_FILE"}
)
"""Only workers call the teacher, so only they have its key."""


def plan_children(
    settings: Settings,
    environment: Mapping[str, str],
    public: Sequence[socket.socket],
    admin: socket.socket,
    sums: Sequence[int],
) -> Iterator[ChildPlan]:
    """Yield the children in the order of their start."""
    home = settings.home
    withheld = _list_withheld(settings)
    # Of this run alone: it says nothing of the machine.
    instance = secrets.token_hex(8)
    sum_fds = ",".join(map(str, sums))
    for number in range(len(public)):
        yield _plan_worker(settings, environment, number, public, sums=sums, instance=instance)
    yield ChildPlan(
        name="admin plane",
        module="gateway.processes.admin",
        arguments=["--fd", str(admin.fileno()), "--sum-fds", sum_fds, "--admission", settings.admission],
        inherited_fds=[admin.fileno(), *sums],
        environment=environment,
        withheld=withheld,
        stop_grace_s=3.0,
        is_watched=True,
        has_loop=True,
    )
    if settings.learn.enabled and settings.harvest.enabled:
        yield _plan("learner", "gateway.processes.learner", environment, withheld, stop_grace_s=15.0)
    if settings.harvest.parts is not None and settings.harvest.enabled:
        yield _plan("shipper", "gateway.processes.shipper", environment, withheld, stop_grace_s=5.0)
    if settings.registry.storage is not None:
        yield _plan(
            "version puller", "gateway.processes.version_puller", environment, withheld, stop_grace_s=3.0
        )
    if settings.state.is_shared:
        shared = _plan(
            "shared state", "gateway.processes.shared_state", environment, withheld, stop_grace_s=5.0
        )
        # After the workers' last audits and owners.
        yield msgspec.structs.replace(shared, stops_last=True)
    specialists = settings.specialists
    yield ChildPlan(
        name="model host",
        module="gateway.specialists.host.process",
        arguments=[
            "--socket", str(home.host_socket), "--encoder", specialists.encoder,
            "--encoder-config", json.dumps(specialists.encoder_options),
            "--models", str(home.models), "--memory-mb", str(specialists.memory_mb),
            "--engines", msgspec.json.encode(specialists.engines).decode(),
        ],
        environment=environment,
        withheld=withheld | {PASSWORD_VARIABLE, PASSWORD_VARIABLE + FILE_SUFFIX},
        stop_grace_s=3.0,
        stops_last=True,
        is_watched=True,
        has_loop=True,
    )  # fmt: skip


def _plan(
    name: str,
    module: str,
    environment: Mapping[str, str],
    withheld: frozenset[str],
    *,
    stop_grace_s: float,
) -> ChildPlan:
    return ChildPlan(
        name=name,
        module=module,
        environment=environment,
        withheld=withheld,
        stop_grace_s=stop_grace_s,
        is_watched=True,
    )


def _plan_worker(
    settings: Settings,
    environment: Mapping[str, str],
    number: int,
    public: Sequence[socket.socket],
    *,
    sums: Sequence[int],
    instance: str,
) -> ChildPlan:
    own, others = public[number].fileno(), [one.fileno() for one in public if one is not public[number]]
    return ChildPlan(
        name=f"worker {number}",
        module="gateway.processes.worker",
        arguments=[
            "--number", str(number), "--fd", str(own), "--neighbor-fds", ",".join(map(str, others)),
            "--sum-fds", ",".join(map(str, sums)), "--instance", instance,
        ],
        inherited_fds=[own, *others, *sums],
        environment=environment,
        stop_grace_s=settings.server.drain_delay_s + settings.server.drain_s + WORKER_END_S,
        is_watched=True,
        has_loop=True,
    )  # fmt: skip


def _list_withheld(settings: Settings) -> frozenset[str]:
    """Return the names of the variables that hold a teacher's credential."""
    credentials = {teacher.credential for teacher in settings.teachers}
    return PROVIDER_SECRETS | credentials | {name + FILE_SUFFIX for name in credentials}
