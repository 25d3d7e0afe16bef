"""A Ray Data job over the harvest's parts: lessons as JSON Lines for a trainer, and how many each task has.

    stepdown harvest parts --json > parts.jsonl
    python ray_lessons.py parts.jsonl lessons/          # or: ray job submit --working-dir . -- python ...

It reads what the list names, never the folder as a whole: files that no manifest names are there, too. A part
in the list may be merged or rewritten (`harvest forget`) before it is read: then the job fails, and begins
anew with a new list. Needs `ray[data]`; credentials of S3 come from the environment.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

COLUMNS = ["task", "text", "answer", "is_lesson", "is_held_out", "is_restricted"]
"""In every part, whichever version wrote it. `text` is what varies of a prompt: a student needs no more."""
LESSON = ["task", "text", "answer"]


def main() -> None:
    """Read the list, write the lessons, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", type=Path, help="what `stepdown harvest parts --json` printed")
    parser.add_argument("target", help="a folder, or a URL as s3://bucket/lessons")
    parser.add_argument("--endpoint-url", help="of an S3 that is not Amazon's")
    options = parser.parse_args()
    parts = [json.loads(line) for line in options.parts.read_text().splitlines()]
    if not parts:
        sys.exit("no parts yet: rows wait in the outboxes for harvest.parts_every_s")
    lessons = read_lessons(parts, options.endpoint_url)
    lessons.select_columns(LESSON).write_json(
        options.target, filesystem=open_files(options.target, options.endpoint_url)
    )
    for row in sorted(lessons.groupby("task").count().take_all(), key=lambda row: row["task"]):
        print(json.dumps({"task": row["task"], "lessons": row["count()"]}))


def read_lessons(parts: list[dict[str, Any]], endpoint_url: str | None = None) -> Any:
    """Return the rows that may be trained on, as a Ray data set: no evidence for certificates."""
    import ray

    addresses = [part["address"] for part in parts]
    files = open_files(addresses[0], endpoint_url)
    # With a file system of ours Ray wants paths without the scheme.
    paths = [address.partition("://")[2] if files else address for address in addresses]
    rows = ray.data.read_parquet(paths, columns=COLUMNS, filesystem=files)
    return rows.filter(lambda row: row["is_lesson"] and not row["is_held_out"] and not row["is_restricted"])


def open_files(address: str, endpoint_url: str | None) -> Any:
    """Return pyarrow's file system for an S3 elsewhere; None leaves the choice to Ray."""
    if not endpoint_url or urlsplit(address).scheme != "s3":
        return None
    from pyarrow.fs import S3FileSystem

    endpoint = urlsplit(endpoint_url)
    return S3FileSystem(endpoint_override=endpoint.netloc, scheme=endpoint.scheme)


if __name__ == "__main__":
    main()
