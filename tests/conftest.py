from importlib.util import find_spec

import pytest

# So that a check which fails shows what it compared. Here, because whoever imports a check first
# decides how it is read.
pytest.register_assert_rewrite("tests.conformance.checks", "tests.conformance.shape")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `learn` where the extra is not installed."""
    if find_spec("torch") is None:
        for item in items:
            if item.get_closest_marker("learn"):
                item.add_marker(pytest.mark.skip(reason="needs the extra `learn`"))
