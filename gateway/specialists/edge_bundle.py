"""One head as a file that runs without stepdown, on a machine with one core and 512 MB."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from gateway.core import Certificate, DraftRequest
from gateway.errors import RegistryError
from gateway.registry.manifest import Manifest
from gateway.specialists import edge_runner, knn
from gateway.specialists.base import NullListener
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.linear import features
from gateway.specialists.onnx_encoder import OnnxEncoder
from gateway.specialists.runtimes.head import first_stage, runtime
from gateway.specialists.shared_resources import SharedResources

RUNNER = "run.py"
FACTS = "bundle.json"
# Not texts of the task: a bundle leaves the house, and what users wrote stays.
PROBES = (
    "where is my order?",
    "I want to change my password and my address",
    "play something quiet for the evening",
    "hi",
    "The invoice of last month shows 12.50 euros more than we agreed on; please correct it or call me back.",
    "book a table for four in Lisbon at eight",
    "what does it cost to send a parcel abroad",
    "Guten Tag, ich habe eine Frage zu meiner Rechnung",
)


def write_bundle(
    file: Path, folder: Path, manifest: Manifest, encoder: OnnxEncoder, certificate: Certificate | None
) -> str:
    """Write the head in the verified `folder` with its encoder as the zip `file`; return its sha256.

    `certificate` is that of texts never learnt, in force without a deferral head; with None the runner
    serves nothing. Texts and hashes of what it has learnt stay here. Raises RegistryError for other runtimes.
    """
    if manifest.runtime != "head":
        raise RegistryError(f"{manifest.task} is a {manifest.runtime}; only a head can be bundled so far")
    with TemporaryDirectory(prefix="stepdown-bundle-") as name:
        scratch = Path(name)
        for part in (runtime.WEIGHTS, runtime.ANSWERS, knn.FILE):
            (scratch / part).write_bytes((folder / part).read_bytes())
        encoder.write_files(scratch)
        words = _copy_first_stage(folder, scratch, encoder)
        (scratch / RUNNER).write_bytes(Path(edge_runner.__file__).read_bytes())
        files = {path.name: _digest(path) for path in sorted(scratch.iterdir())}
        facts = _facts(folder, manifest, encoder, certificate) | {"files": files, "words": words}
        (scratch / FACTS).write_text(json.dumps(facts, indent=1))
        with zipfile.ZipFile(file, "w") as bundle:
            for path in sorted(scratch.iterdir()):
                # A fixed date: the same version makes the same bundle.
                bundle.writestr(zipfile.ZipInfo(f"{manifest.task}/{path.name}"), path.read_bytes())
    return _digest(file)


def _copy_first_stage(folder: Path, scratch: Path, encoder: OnnxEncoder) -> dict[str, object] | None:
    """Copy the head's first stage and its word vectors; return where the table of these is, None without."""
    if not (folder / first_stage.FILE).exists():
        return None
    (scratch / first_stage.FILE).write_bytes((folder / first_stage.FILE).read_bytes())
    return encoder.write_words(scratch) | {"weight": float(first_stage.WORD_WEIGHT)}


def _facts(
    folder: Path, manifest: Manifest, encoder: OnnxEncoder, certificate: Certificate | None
) -> dict[str, object]:
    rule = None
    if certificate:
        named = (
            "threshold",
            "forms",
            "novelty_floor",
            "expires_at",
            "evidence_from",
            "evidence_to",
            "target",
        )
        rule = {name: msgspec.to_builtins(getattr(certificate, name)) for name in named}
    return {
        "task": manifest.task,
        "version": manifest.version,
        "encoder": encoder.name,
        "max_tokens": encoder.max_tokens,
        "embedding_weight": float(features.EMBEDDING_WEIGHT),
        "hashed_bins": features.HASHED_BINS,
        "hashed_weight": features.HASHED_WEIGHT,
        "certificate": rule,
        "manifest": msgspec.to_builtins(manifest),
        "probes": _probes(folder, encoder),
    }


def _probes(folder: Path, encoder: OnnxEncoder) -> list[dict[str, object]]:
    head = runtime.create(folder, SharedResources(encoder, EnginePool(Path("no-models"), 0)))
    probes: list[dict[str, object]] = []
    for text in PROBES:
        said = head.draft(DraftRequest(text=text), NullListener())
        evidence = {
            "probability": said.evidence["probability"],
            "similarity": said.evidence.get("similarity"),
        }
        probes.append({"text": text, "draft": {"answer": said.text, "score": said.score, **evidence}})
    return probes


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
