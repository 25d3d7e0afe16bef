"""`python -m loadtests.datasets fetch NAME ...` brings data sets into the cache, for `--data NAME`.

Each comes from its public repository at one commit; every file is checked against its sha256.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from loadtests.datasets.public_source import HOST, fetch_files, read_sources


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch the named data sets; print the license of each and its folder."""
    sources = read_sources()
    options = _options(list(sources)).parse_args(arguments)
    for name in options.names:
        source = sources[name]
        print(f"{name}: github.com/{source.repository} at {source.commit[:8]}")
        print(f"  license: {source.license}")
        folder = fetch_files(name, source, options.host)
        print(f"  every file has its pinned sha256, in {folder}")
    return 0


def _options(names: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loadtests.datasets", description=__doc__)
    commands = parser.add_subparsers(required=True)
    fetch = commands.add_parser("fetch", help="download data sets into the cache")
    fetch.add_argument("names", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    fetch.add_argument("--host", default=HOST, help=f"a mirror with the same paths ({HOST})")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
