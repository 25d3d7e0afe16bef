"""One head or tagger as a file that runs without stepdown, on a machine with one core and 512 MB."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import msgspec

from gateway.core import Certificate, DraftRequest
from gateway.errors import RegistryError, SpecialistError
from gateway.registry.manifest import Manifest
from gateway.specialists import familiarity, knn, learnt
from gateway.specialists.base import NullListener
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.linear import features
from gateway.specialists.onnx_encoder import OnnxEncoder
from gateway.specialists.runtimes import open_runtime
from gateway.specialists.runtimes.head import first_stage
from gateway.specialists.runtimes.head import runtime as head
from gateway.specialists.runtimes.tagger import option_head
from gateway.specialists.runtimes.tagger import runtime as tagger
from gateway.specialists.shared_resources import SharedResources

FACTS = "bundle.json"
REQUIREMENTS = "requirements.txt"
_PACKAGES = ("numpy", "onnxruntime", "tokenizers")
"""What the runner needs, as it drafts here: scores of onnxruntime 1.28 and 1.32 are up to 0.05 apart."""
_READABLE = 0o100644
"""The mode of its files: zipfile's own lets only the user who unpacks read them, not a service's."""
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
    file: Path, folder: Path, manifest: Manifest, encoder: OnnxEncoder, certificates: Sequence[Certificate]
) -> str:
    """Write the version in the verified `folder` with its encoder as the zip `file`; return its sha256.

    `certificates` are in force without a deferral head, one at most for texts never learnt and one for
    learnt texts: without one the runner serves none of these. What was learnt goes out as hashes, which
    tell the two apart, and of a tagger as vectors, but not as texts. Raises RegistryError for runtimes
    other than `head` and `tagger`, or if `file` cannot be written; then what was there is as it was.
    """
    try:
        return _write(file, folder, manifest, encoder, certificates)
    except OSError as exc:
        # What is packed is put together in a folder for scratch first.
        raise RegistryError(
            f"{file} cannot be put together in {gettempdir()} (TMPDIR): {exc.strerror}"
        ) from exc


def _write(
    file: Path, folder: Path, manifest: Manifest, encoder: OnnxEncoder, certificates: Sequence[Certificate]
) -> str:
    if manifest.runtime not in _COPIES:
        known = " or ".join(f"a {name}" for name in _COPIES)
        raise RegistryError(f"{manifest.task} is {manifest.runtime}; only {known} can be bundled")
    with TemporaryDirectory(prefix="stepdown-bundle-") as name:
        scratch = Path(name)
        encoder.write_files(scratch)
        words = _COPIES[manifest.runtime](folder, scratch, encoder)
        if (folder / learnt.FILE).exists():
            _copy(folder / learnt.FILE, scratch)
        for program in ("run", manifest.runtime):
            _copy(Path(__file__).with_name(f"{program}.py"), scratch)
        packages = {name: metadata.version(name) for name in _PACKAGES}
        pinned = "".join(f"{name}=={version}\n" for name, version in packages.items())
        (scratch / REQUIREMENTS).write_text(pinned)
        files = {path.name: _digest(path) for path in sorted(scratch.iterdir())}
        facts = _facts(folder, manifest, encoder, certificates)
        facts |= {"files": files, "words": words, "packages": packages}
        (scratch / FACTS).write_text(json.dumps(facts, indent=1))
        return _write_zip(file, manifest.task, scratch)


def _write_zip(file: Path, task: str, scratch: Path) -> str:
    """Write the files in `scratch` as a folder of a zip; return its sha256."""
    # Behind a link it is the file that is replaced.
    target = file.resolve()
    # Another command may be writing the same file.
    written = target.with_name(f".{target.name}.new-{os.getpid()}")
    try:
        if target.exists() and not target.is_file():
            # To replace a device would take it from all others.
            raise RegistryError(f"{file} cannot be written: it is no file")
        with zipfile.ZipFile(written, "w") as bundle:
            for path in sorted(scratch.iterdir()):
                # A fixed date: the same version makes the same bundle.
                entry = zipfile.ZipInfo(f"{task}/{path.name}")
                entry.external_attr = _READABLE << 16
                bundle.writestr(entry, path.read_bytes())
        digest = _digest(written)
        written.replace(target)
    except OSError as exc:
        raise RegistryError(f"{file} cannot be written: {exc.strerror}") from exc
    finally:
        # There is one after Ctrl-C, too.
        with suppress(OSError):
            written.unlink()
    return digest


def _copy_head(folder: Path, scratch: Path, encoder: OnnxEncoder) -> dict[str, object] | None:
    """Copy a head, with word vectors if it has a first stage; return where their table is, None without."""
    for part in (head.WEIGHTS, head.ANSWERS, familiarity.FILE):
        _copy(folder / part, scratch)
    if not (folder / first_stage.FILE).exists():
        return None
    _copy(folder / first_stage.FILE, scratch)
    return encoder.write_words(scratch) | {"weight": float(first_stage.WORD_WEIGHT)}


def _copy_tagger(folder: Path, scratch: Path, encoder: OnnxEncoder) -> None:
    for part in (tagger.GRAMMAR, knn.FILE):
        _copy(folder / part, scratch)
    # The encoder may have files of the names that they have in the version.
    _copy(folder / tagger.MODEL, scratch, "tagger.onnx")
    _copy(folder / tagger.TOKENIZER, scratch, "words.json")
    if (folder / option_head.FILE).exists():
        _copy(folder / option_head.FILE, scratch)


_COPIES: dict[str, Callable[[Path, Path, OnnxEncoder], dict[str, object] | None]] = {
    "head": _copy_head,
    "tagger": _copy_tagger,
}


def _copy(file: Path, folder: Path, name: str = "") -> None:
    (folder / (name or file.name)).write_bytes(file.read_bytes())


def _facts(
    folder: Path, manifest: Manifest, encoder: OnnxEncoder, certificates: Sequence[Certificate]
) -> dict[str, object]:
    named = (
        "threshold",
        "forms",
        "novelty_floor",
        "expires_at",
        "evidence_from",
        "evidence_to",
        "target",
    )
    rules = {
        each.stratum: {name: msgspec.to_builtins(getattr(each, name)) for name in named}
        for each in certificates
    }
    return {
        "task": manifest.task,
        "version": manifest.version,
        "encoder": encoder.name,
        "max_tokens": encoder.max_tokens,
        "embedding_weight": float(features.EMBEDDING_WEIGHT),
        "hashed_bins": features.HASHED_BINS,
        "hashed_weight": features.HASHED_WEIGHT,
        "certificates": rules,
        "manifest": msgspec.to_builtins(manifest),
        "probes": _probes(folder, manifest, encoder),
    }


def _probes(folder: Path, manifest: Manifest, encoder: OnnxEncoder) -> list[dict[str, object]]:
    """Return the drafts of PROBES, those that have one."""
    resources = SharedResources(encoder, EnginePool(Path("no-models"), 0))
    version = open_runtime(manifest.runtime, folder, resources)
    named = {"head": ("probability", "similarity"), "tagger": ("min_logprob", "similarity")}[manifest.runtime]
    probes: list[dict[str, object]] = []
    for text in PROBES:
        with suppress(SpecialistError):
            said = version.draft(DraftRequest(text=text), NullListener())
            evidence = {name: said.evidence.get(name) for name in named}
            probes.append({"text": text, "draft": {"answer": said.text, "score": said.score, **evidence}})
    return probes


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
