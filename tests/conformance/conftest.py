import pytest

# So that a check which fails shows what it compared.
pytest.register_assert_rewrite("tests.conformance.checks", "tests.conformance.shape")
