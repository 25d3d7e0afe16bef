"""Drafts on a scripted server: signals, deadline, choice of replica, a change of the model."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from gateway.core import DraftRequest
from gateway.errors import RegistryError, SpecialistError
from gateway.specialists.base import NullListener, Prediction
from gateway.specialists.engine import base_model
from gateway.specialists.engine.prompt import TOKENIZER
from gateway.specialists.remote.adapters import CARD, WEIGHTS
from gateway.specialists.remote.config import EngineConfig
from gateway.specialists.remote.pool import RemoteEngines
from gateway.specialists.runtimes import openai
from tests.specialists.hosting import FlatEncoder, drafted, resources_of
from tests.specialists.remote.conftest import Open
from tests.support.model_server import ModelServer, stop_server
from tests.support.waiting import wait_for


class Recorder(NullListener):
    """A Listener that keeps what it hears, and cancels when told to."""

    def __init__(self) -> None:
        self.opening: Prediction | None = None
        self.pieces: list[str] = []
        self.cancel: Callable[[], None] = lambda: None

    def add_cancel_callback(self, callback: Callable[[], None]) -> None:
        self.cancel = callback

    def on_opening(self, prediction: Prediction) -> None:
        self.opening = prediction

    def on_piece(self, text: str) -> None:
        self.pieces.append(text)


def reason_of(runtime: openai.OpenaiRuntime, text: str = "hello") -> str:
    with pytest.raises(SpecialistError) as caught:
        drafted(runtime, text)
    return caught.value.reason


def is_drafting(runtime: openai.OpenaiRuntime) -> bool:
    try:
        return drafted(runtime, "hello").text == "echo hello"
    except SpecialistError:
        return False


def test_a_draft_has_the_signals_of_a_local_decoder(server: ModelServer, open_runtime: Open) -> None:
    server.script.logprob = -0.2

    prediction = drafted(open_runtime(server), "a b")

    rest = math.log((1 - math.exp(-0.2)) / 2)
    assert prediction.text == "echo a b"
    assert prediction.score == pytest.approx(math.exp(-0.2))
    assert prediction.trace is not None
    assert prediction.trace.logprobs == (-0.2,) * 3
    assert prediction.trace.margins == pytest.approx((-0.2 - rest,) * 3)
    assert prediction.trace.entropies == pytest.approx(
        (0.2 * math.exp(-0.2) - 2 * math.exp(rest) * rest,) * 3
    )
    assert prediction.evidence["mean_logprob"] == pytest.approx(-0.2)
    assert prediction.evidence["similarity"] == pytest.approx(1.0, abs=1e-3)
    assert (prediction.prompt_tokens, prediction.completion_tokens) == (7, 3)


def test_what_the_client_demands_is_passed_on(server: ModelServer, open_runtime: Open) -> None:
    runtime = open_runtime(server)
    request = DraftRequest(
        text="hi", max_tokens=5, stop=("x",), response_format=b'{"type":"json_object"}', top_logprobs=7
    )

    prediction = runtime.draft(request, NullListener())

    sent = server.script.requests[0]
    assert (sent["max_tokens"], sent["stop"], sent["temperature"]) == (5, ["x"], 0)
    assert sent["response_format"] == {"type": "json_object"}
    assert sent["top_logprobs"] == 7
    assert [token.text for token in prediction.tokens] == ["echo ", "hi"]
    assert len(prediction.tokens[0].top) == 2


def test_a_streamed_draft_opens_with_what_it_is_scored_by(server: ModelServer, open_runtime: Open) -> None:
    listener = Recorder()
    runtime = open_runtime(server, hold_back=2)

    whole = runtime.draft(DraftRequest(text="a b c", is_streamed=True), listener)

    assert listener.opening is not None
    assert (listener.opening.text, listener.pieces) == ("echo a ", ["b ", "c"])
    assert listener.opening.trace == whole.trace
    assert whole.completion_tokens == 4


def test_a_server_without_logprobs_drafts_nothing(server: ModelServer, open_runtime: Open) -> None:
    server.script.has_logprobs = False
    assert reason_of(open_runtime(server)) == "no logprobs"


def test_a_stream_that_is_cut_is_no_draft(server: ModelServer, open_runtime: Open) -> None:
    server.script.cut_after = 1
    assert reason_of(open_runtime(server)) == "specialist failed"


def test_a_draft_ends_at_the_deadline(server: ModelServer, open_runtime: Open) -> None:
    runtime = open_runtime(server, timeout_s=0.3)
    server.script.delay_s = 30.0
    assert reason_of(runtime) == "late"


def test_a_cancelled_draft_stops_on_the_server(server: ModelServer, open_runtime: Open) -> None:
    runtime, listener = open_runtime(server), Recorder()
    server.script.piece_delay_s = 0.02
    with ThreadPoolExecutor(1) as pool:
        request = DraftRequest(text="a " * 500, max_tokens=400)
        draft = pool.submit(runtime.draft, request, listener)
        wait_for(lambda: server.script.requests, "nothing was asked")
        listener.cancel()
        with pytest.raises(SpecialistError, match="cancelled"):
            draft.result()

    wait_for(lambda: server.script.abandoned, "the server goes on")


def test_drafts_go_to_the_replica_with_the_fewest_under_way(
    server: ModelServer, other: ModelServer, open_runtime: Open
) -> None:
    runtime = open_runtime(server, other)
    server.script.delay_s = 0.5
    other.script.delay_s = 0.02
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: drafted(runtime, f"text {n}"), range(24)))

    assert len(server.script.requests) + len(other.script.requests) == 24
    assert len(other.script.requests) > 2 * len(server.script.requests)


def test_a_replica_that_dies_costs_no_draft(
    server: ModelServer, other: ModelServer, open_runtime: Open
) -> None:
    runtime = open_runtime(server, other)
    drafted(runtime, "one")
    stop_server(server)

    assert [drafted(runtime, f"text {n}").text for n in range(6)] == [f"echo text {n}" for n in range(6)]


def test_an_overloaded_replica_sends_the_draft_to_the_other(
    server: ModelServer, other: ModelServer, open_runtime: Open
) -> None:
    runtime = open_runtime(server, other)
    drafted(runtime, "one")
    drafted(runtime, "two")
    server.script.status = 429

    assert [drafted(runtime, f"text {n}").text for n in range(4)] == [f"echo text {n}" for n in range(4)]


def test_without_a_server_the_reason_is_said_at_once(server: ModelServer, open_runtime: Open) -> None:
    runtime = open_runtime(server)
    stop_server(server)

    assert reason_of(runtime) in {"engine down", "engine lost"}
    began = time.monotonic()
    assert reason_of(runtime) == "engine down"
    assert time.monotonic() - began < 0.4


def test_a_server_that_is_back_is_asked_again(server: ModelServer, open_runtime: Open) -> None:
    runtime = open_runtime(server)
    server.script.status = 500
    assert reason_of(runtime) == "engine down"
    server.script.status = 200

    assert wait_for(lambda: is_drafting(runtime), "it is never asked again")


@pytest.mark.parametrize("change", ["version", "weights"])
def test_a_changed_model_is_found_at_the_next_check(
    server: ModelServer, open_runtime: Open, change: str
) -> None:
    runtime = open_runtime(server, check_every_s=0.001)
    drafted(runtime, "hello")
    if change == "version":
        server.script.version = "2.0"
    else:
        server.script.probe_logprob = -2.0

    def reason() -> str:
        try:
            drafted(runtime, "hello")
        except SpecialistError as exc:
            return exc.reason
        return ""

    assert wait_for(reason, "the change is not noticed") == "model changed"


def test_a_new_fingerprint_is_checked_before_its_answer_counts(
    server: ModelServer, open_runtime: Open
) -> None:
    runtime = open_runtime(server)
    drafted(runtime, "hello")
    server.script.version, server.script.fingerprint = "2.0", "fp-2"

    assert reason_of(runtime) == "model changed"


def test_a_new_build_of_nothing_else_goes_on(server: ModelServer, open_runtime: Open) -> None:
    """The fingerprint of one replica may be another than that of the next."""
    runtime = open_runtime(server)
    drafted(runtime, "hello")
    server.script.fingerprint = "fp-2"

    assert drafted(runtime, "hello").text == "echo hello"


def test_replicas_that_still_run_the_certified_model_go_on(
    server: ModelServer, other: ModelServer, open_runtime: Open
) -> None:
    other.script.version = "2.0"
    runtime = open_runtime(server, other)

    for n in range(6):
        assert drafted(runtime, f"text {n}").text == f"echo text {n}"
    assert not other.script.requests


def test_the_key_is_read_anew_for_each_request(
    server: ModelServer, open_runtime: Open, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("first\n")
    server.script.api_key = "first"
    runtime = open_runtime(server, api_key_file=str(key))
    drafted(runtime, "hello")
    server.script.api_key = "second"
    assert reason_of(runtime) == "engine refused"

    key.write_text("second\n")

    assert drafted(runtime, "hello").text == "echo hello"


def test_a_key_that_was_refused_is_no_change_of_the_model(server: ModelServer, tmp_path: Path) -> None:
    """Else an expired key would cost a certificate."""
    key = tmp_path / "key"
    key.write_text("first")
    server.script.api_key = "first"
    config = EngineConfig(urls=(server.url,), model="small", api_key_file=str(key), check_every_s=0.001)
    engines = RemoteEngines({"pool": config})
    try:
        card = openai.Card(engine="pool", identity=engines.identify("pool"), max_new_tokens=8)
        server.script.api_key, server.script.version = "second", "2.0"
        assert openai.describe_change(card, engines) == ""
    finally:
        engines.close()


def test_a_server_that_hung_while_it_was_checked_is_asked_again(
    server: ModelServer, open_runtime: Open
) -> None:
    runtime = open_runtime(server, timeout_s=0.4)
    server.script.status = 500
    assert reason_of(runtime) == "engine down"
    server.script.status, server.script.listing_delay_s = 200, 2.0
    wait_for(lambda: reason_of(runtime) == "late", "it is not asked")
    server.script.listing_delay_s = 0.0

    assert wait_for(lambda: is_drafting(runtime), "it is never asked again")


def write_prompter(folder: Path) -> None:
    """Write a base card, and a tokenizer of three words: `hello` is 1."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "hello": 1, "user": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / TOKENIZER))
    card = base_model.BaseCard(
        name="tiny",
        prompt_prefix="user",
        prompt_suffix="",
        context=64,
        rank=8,
        modules=(),
        quantization="",
        source="",
        source_sha256="",
    )
    base_model.write_card(card, folder)


def peft_files(folder: Path) -> Path:
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(b"weights")
    (folder / CARD).write_text("{}")
    write_prompter(folder)
    return folder


def test_vllm_is_given_the_adapter_and_asked_by_its_name(
    server: ModelServer, open_runtime: Open, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    runtime = open_runtime(
        server,
        files=peft_files(tmp_path / "version"),
        adapters="vllm",
        adapters_folder=str(shared),
        adapters_folder_there="/mnt/adapters",
    )

    prediction = drafted(runtime, "hello")
    drafted(runtime, "again")

    assert prediction.text == "echo 2 1", "it is asked in the tokens that it was trained with"
    assert prediction.trace is not None
    assert prediction.trace.logprobs == (server.script.logprob,) * 3
    assert prediction.trace.margins[0] > 0.0
    ((name, path),) = server.script.loras.items()
    assert path == f"/mnt/adapters/{name}"
    assert (shared / name / WEIGHTS).read_bytes() == b"weights"
    assert {sent["model"] for sent in server.script.requests} == {name}


def test_a_restarted_vllm_is_given_the_adapter_again(
    server: ModelServer, open_runtime: Open, tmp_path: Path
) -> None:
    runtime = open_runtime(
        server,
        files=peft_files(tmp_path / "version"),
        adapters="vllm",
        adapters_folder=str(tmp_path / "shared"),
    )
    drafted(runtime, "hello")
    server.script.loras.clear()

    assert drafted(runtime, "hello").text == "echo 2 1"
    assert server.script.loras


def test_llamacpp_is_told_the_number_of_the_adapter(
    server: ModelServer, open_runtime: Open, tmp_path: Path
) -> None:
    files = peft_files(tmp_path / "version")
    runtime = open_runtime(server, files=files, adapters="llamacpp", adapters_folder=str(tmp_path / "shared"))
    assert reason_of(runtime) == "adapter missing"
    (name,) = [entry.name for entry in (tmp_path / "shared").iterdir()]
    server.script.started_with = ["/m/another.gguf", f"/m/{name}.gguf"]

    drafted(runtime, "hello")

    assert server.script.requests[-1]["lora"] == [{"id": 1, "scale": 1.0}]


def test_an_engine_that_the_settings_do_not_name_is_refused(
    server: ModelServer, open_runtime: Open, tmp_path: Path
) -> None:
    open_runtime(server)

    with pytest.raises(RegistryError, match=r"no engine 'pool' in \[specialists.engines\]; known: none"):
        openai.create(tmp_path, resources_of(FlatEncoder()))


def test_many_threads_draft_at_once(server: ModelServer, open_runtime: Open) -> None:
    runtime = open_runtime(server)
    server.script.delay_s = 0.05
    barrier = threading.Barrier(16)

    def draft(number: int) -> str:
        barrier.wait()
        return drafted(runtime, f"text {number}").text

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(draft, range(16))) == [f"echo text {n}" for n in range(16)]
