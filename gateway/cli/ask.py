"""Ask the running gateway one question, as an OpenAI client would."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping

from gateway.cli import FAILED, OK, UNREACHABLE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("question", help="the user message")
    parser.add_argument("--system", help="the system message, as the app's prompt template")
    parser.add_argument("--model", default="gpt-4o", help="the model the app would name (gpt-4o)")
    parser.add_argument("--base-url", help="the gateway's URL (the one that runs from this home)")
    parser.add_argument(
        "--mode", choices=["auto", "teacher", "local", "shadow"], help="value of x-stepdown-mode"
    )
    parser.add_argument("--json", action="store_true", help="print the answer and the labels as JSON")
    parser.add_argument("--explain", action="store_true", help="say who answered, and why")


def run(arguments: argparse.Namespace) -> int:
    """Print the answer to the question."""
    from gateway.settings import read_settings
    from gateway.store.run_file import read_run_file

    base_url = arguments.base_url or f"{read_run_file(read_settings(os.environ).home).url}/v1"
    return _ask(arguments, base_url)


def _ask(arguments: argparse.Namespace, base_url: str) -> int:
    import openai

    from gateway.config.environment import read_secret

    found = read_secret(os.environ, "STEPDOWN_KEY") or read_secret(os.environ, "OPENAI_API_KEY")
    key = found[0] if found else "none"
    system = [{"role": "system", "content": arguments.system}] if arguments.system else []
    headers = {"x-stepdown-mode": arguments.mode} if arguments.mode else {}
    with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
        try:
            raw = client.chat.completions.with_raw_response.create(
                model=arguments.model,
                messages=[*system, {"role": "user", "content": arguments.question}],  # type: ignore[list-item]
                extra_headers=headers,
            )
        except openai.APIConnectionError as exc:
            print(f"stepdown: {base_url} cannot be reached: {exc.__cause__ or exc}", file=sys.stderr)
            return UNREACHABLE
        except openai.APIStatusError as exc:
            print(f"stepdown: HTTP {exc.status_code}: {exc.message}", file=sys.stderr)
            if arguments.explain:
                _print_labels(exc.response.headers)
            return FAILED
        answer = raw.parse().choices[0].message.content
    if arguments.json:
        print(json.dumps({"answer": answer, **_read_labels(raw.headers)}))
        return OK
    print(answer)
    if arguments.explain:
        _print_labels(raw.headers)
    return OK


def _print_labels(headers: Mapping[str, str]) -> None:
    for name, value in _read_labels(headers).items():
        print(f"  {name}: {value}", file=sys.stderr)


def _read_labels(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name.lower().removeprefix("x-stepdown-"): value
        for name, value in headers.items()
        if name.lower().startswith("x-stepdown-")
    }
