"""Measures the limits of keys: CPU per request, by what is limited and by the number of keys.

`python -m loadtests.key_limits` counts in the file that workers share, as a worker does, beside two
other processes that count in it for another key. The times are CPU of this process: other load on
the machine matters little.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gateway.core import Limits
from gateway.policy.key_limits import KeyLimits
from gateway.store.keys import KeyFacts
from gateway.store.shared_counters import Counters, create_counters

REQUESTS = 40_000
MOST = 10**9
CASES = {
    "no limit": Limits(),
    "requests a minute": Limits(requests_per_minute=MOST),
    "requests a minute, at a time": Limits(requests_per_minute=MOST, concurrent_requests=MOST),
    "and tokens a minute": Limits(requests_per_minute=MOST, concurrent_requests=MOST, tokens_per_minute=MOST),
    "and dollars a day and month": Limits(
        requests_per_minute=MOST,
        concurrent_requests=MOST,
        tokens_per_minute=MOST,
        usd_per_day=float(MOST),
        usd_per_month=float(MOST),
    ),
}


def main() -> None:
    """Print the table; with --noise, only make the noise of another worker."""
    parser = argparse.ArgumentParser(prog="loadtests.key_limits", description=__doc__.partition("\n")[0])
    parser.add_argument("--noise", nargs=2, metavar=("FILE", "NUMBER"), help="only count there, as another")
    if noise := parser.parse_args().noise:
        return make_noise(Path(noise[0]), int(noise[1]))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "counters"
        create_counters(file, 3)
        noise = [
            subprocess.Popen([sys.executable, "-m", __spec__.name, "--noise", str(file), str(number)])
            for number in (1, 2)
        ]
        try:
            print_table(KeyLimits(Counters(file, 0)))
        finally:
            for process in noise:
                process.kill()
                process.wait()
    return None


def print_table(key_limits: KeyLimits) -> None:
    """Print CPU microseconds per request: admitted, its headers, ended, settled."""
    print(f"{'us per request':32}{'1 key':>9}{'1,000 keys':>12}{'headers':>9}{'settled':>9}")
    for name, limits in CASES.items():
        one, many = (measure_admission(key_limits, make_keys(limits, count)) for count in (1, 1_000))
        (key,) = make_keys(limits, 1)
        admission = key_limits.admit(key, 20)
        headers = time_calls(admission.headers) if admission else 0.0
        settled = time_calls(
            lambda key_id=key.id: key_limits.settle(key_id, reserved_tokens=20, tokens=25, usd=1e-6)
        )
        print(f"{name:32}{one:9.1f}{many:12.1f}{headers:9.1f}{settled:9.1f}")


def measure_admission(key_limits: KeyLimits, keys: list[KeyFacts]) -> float:
    """Return the microseconds from admission to end, over requests of all `keys` in turn."""
    turns = itertools.cycle(keys)

    def admit_one() -> None:
        if admission := key_limits.admit(next(turns), 20):
            admission.close()

    return time_calls(admit_one)


def time_calls(call: object) -> float:
    """Return the CPU microseconds of one call."""
    assert callable(call)
    for _ in range(2_000):
        call()
    begun = time.process_time()
    for _ in range(REQUESTS):
        call()
    return (time.process_time() - begun) / REQUESTS * 1e6


def make_keys(limits: Limits, count: int) -> list[KeyFacts]:
    """Return keys with the same limits and names of their own."""
    name = f"{hash(limits)} {count}"
    return [
        KeyFacts(id=f"{name} {number}", name=name, tenant=name, created_at=0.0, limits=limits)
        for number in range(count)
    ]


def make_noise(file: Path, number: int) -> None:
    """Count for another key about a thousand times a second, until this process is killed."""
    key_limits = KeyLimits(Counters(file, number))
    (key,) = make_keys(CASES["requests a minute"], 1)
    while True:
        if admission := key_limits.admit(key, 20):
            admission.close()
        time.sleep(0.001)


if __name__ == "__main__":
    main()
