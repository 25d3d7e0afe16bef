import pytest

# So that a check which fails shows what it compared. Here, because whoever imports a check first
# decides how it is read.
pytest.register_assert_rewrite("tests.conformance.checks", "tests.conformance.shape")
