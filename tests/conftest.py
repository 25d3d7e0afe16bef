"""Settings of pytest for every room."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck
from xdist.remote import Producer

from gateway.settings import Settings
from gateway.store.state import State, open_state
from tests.support.scheduling import FileScheduling, place_of

# As the learner and the model host have it, and before numpy is imported: threads of BLAS and OpenMP would
# spin while they wait for each other. On two busy cores, six tests that train took 75 s of CPU, and take 20.
for name, value in (("OMP_NUM_THREADS", "1"), ("OPENBLAS_NUM_THREADS", "1"), ("OMP_WAIT_POLICY", "PASSIVE")):
    os.environ.setdefault(name, value)

# So that a failed check shows both values. Here, because the first import of a module decides
# whether its assertions are rewritten.
pytest.register_assert_rewrite("tests.conformance.checks", "tests.conformance.shape")

# A busy machine is slow to make examples, too: only what a test asserts may fail it.
_any_speed = hypothesis.settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.settings.register_profile("quick", _any_speed, derandomize=True, database=None, max_examples=100)
hypothesis.settings.register_profile("soak", _any_speed, max_examples=2_000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a home that is not there yet."""
    return Settings(home_folder=str(tmp_path / "home"))


@pytest.fixture
def state(settings: Settings) -> Iterator[State]:
    with open_state(settings.home) as state:
        yield state


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `learn` if the extra is not installed; put what is dear first."""
    is_skipped = find_spec("torch") is None
    for item in items:
        if is_skipped and item.get_closest_marker("learn"):
            item.add_marker(pytest.mark.skip(reason="needs the extra `learn`"))
    items.sort(key=lambda item: place_of(item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileScheduling | None:
    """With `--dist loadgroup`, keep a file in one process: xdist's own scheduler would not."""
    return FileScheduling(config, log) if config.getoption("dist") == "loadgroup" else None
