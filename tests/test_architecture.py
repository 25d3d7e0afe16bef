"""The rules of the code that a program can check and import-linter does not."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "gateway").rglob("*.py"))
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 60
VAGUE_NAMES = {"utils", "helpers", "common", "manager", "misc"}

MODELS = {"numpy", "scipy", "sklearn", "onnxruntime", "tokenizers", "torch", "sentence_transformers"}
HEAVY = MODELS | {
    "genai_prices",
    "prometheus_client",
    "opentelemetry",
    "litestar",
    "uvicorn",
    "aiohttp",
    "openai",
    "rich",
    "yaml",
}

PLURALS = {
    "cli": {"add_arguments", "run"},
    "confidence/agreements": {"create"},
    "confidence/signals": {"measure"},
    "distill/base_models/sources": {"fetch"},
    "distill/recipes": {"create"},
    "harvest/formats": {"write"},
    "harvest/shapes": {"read_record"},
    "routing/classifiers": {"create"},
    "specialists/encoders": {"create"},
    "specialists/runtimes": {"create"},
    "upstream/providers": {"create"},
}
"""Folders of interchangeable things, and the functions that each module in them offers."""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def offered_by(path: Path) -> set[str]:
    """Return the functions that a module defines, and in a package also those that it passes on."""
    body = tree(path).body
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    if path.name != "__init__.py":
        return defined
    return defined | {alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names}


def loaded_by(statement: str) -> set[str]:
    """Return the top-level names in sys.modules after `statement` in a fresh interpreter."""
    script = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_and_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(tree(path)), "the first line of a module states its purpose"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_MODULE_LINES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = {
        node.name: length
        for node in functions(path)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    }

    assert not long


def test_no_module_has_a_vague_name() -> None:
    names = {part.removesuffix(".py") for path in MODULES for part in path.relative_to(ROOT).parts}

    assert not names & VAGUE_NAMES


@pytest.mark.parametrize("folder", sorted(PLURALS))
def test_a_folder_of_interchangeable_things_holds_nothing_else(folder: str) -> None:
    """One thing is one file, or one folder that offers the same at its top."""
    inside = ROOT / "gateway" / folder
    modules = [path for path in inside.glob("*.py") if not path.stem.startswith("_")]
    folders = sorted(inside.glob("*/__init__.py"))

    assert modules or folders
    for path in modules + folders:
        offered = offered_by(path)
        assert offered >= PLURALS[folder], f"{path.name} lacks {PLURALS[folder] - offered}"


@pytest.mark.parametrize("module", ["gateway", "gateway.cli", "gateway.settings"])
def test_importing_the_command_loads_nothing_heavy(module: str) -> None:
    assert not loaded_by(f"import {module}") & HEAVY


def test_the_general_help_loads_nothing_heavy() -> None:
    """`stepdown --help` imports every command module, so none may import a library at its top."""
    statement = (
        "import contextlib, io, gateway.cli\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    gateway.cli.main(['--help'])"
    )

    assert not loaded_by(statement) & HEAVY


def test_the_gateway_worker_loads_no_models() -> None:
    assert not loaded_by("import gateway.processes.worker") & MODELS


def test_the_gateway_worker_loads_opentelemetry_only_to_export() -> None:
    assert "opentelemetry" not in loaded_by("import gateway.processes.worker")


@pytest.mark.parametrize(
    "process", ["supervisor", "worker", "learner", "admin", "shared_state", "version_puller"]
)
def test_no_process_loads_a_client_of_shared_services_before_they_are_named(process: str) -> None:
    """Neither Valkey's nor those of object storage: one machine is complete without them."""
    loaded = loaded_by(f"import gateway.processes.{process}")

    assert not loaded & {"redis", "fsspec", "s3fs", "aiobotocore", "duckdb"}


def test_the_learner_loads_no_training_before_there_is_something_to_learn() -> None:
    """Every gateway starts one; most of them wait for traffic."""
    assert not loaded_by("import gateway.processes.learner") & {"scipy", "sklearn", "onnxruntime", "torch"}


def test_the_supervisor_loads_neither_models_nor_the_web_framework() -> None:
    assert not loaded_by("import gateway.processes.supervisor") & (
        MODELS | {"litestar", "uvicorn", "aiohttp"}
    )


def test_the_model_host_loads_neither_training_nor_the_web_framework() -> None:
    assert not loaded_by("import gateway.specialists.host.process") & {
        "sklearn",
        "torch",
        "litestar",
        "aiohttp",
    }


def test_the_lock_names_no_host_and_pins_every_file_by_hash() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and line[0] not in "# "]

    assert all(line.endswith("\\") for line in pins), "a pin continues with its hashes"
    assert not [line for line in lines if "://" in line or line.startswith("-")]
    assert [line for line in lines if line.startswith("# == ")] == [
        "# == serve",
        "# == test",
        "# == learn",
        "# == clients",
        "# == cluster",
    ]
