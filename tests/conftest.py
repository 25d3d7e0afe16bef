"""Settings of pytest for every room."""

from importlib.util import find_spec

import pytest

# So that a failed check shows both values. Here, because the first import of a module decides
# whether its assertions are rewritten.
pytest.register_assert_rewrite("tests.conformance.checks", "tests.conformance.shape")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `learn` if the extra is not installed."""
    if find_spec("torch") is None:
        for item in items:
            if item.get_closest_marker("learn"):
                item.add_marker(pytest.mark.skip(reason="needs the extra `learn`"))
