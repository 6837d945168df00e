"""What each command of `python -m model_store` does, and how its answer reads."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .cache import Cache
from .errors import UsageError
from .fetch import fetch_version
from .labels import LabelTarget, read_labels, set_label
from .manifest import Manifest
from .names import check_label_name
from .progress import Progress, human_size
from .publish import publish
from .pull import check_remote, pull, pull_to_folder
from .reference import Resolved, parse_reference, resolve
from .remote import Remote
from .verify import verify_folder
from .versions import list_models, list_versions

Answer = tuple[dict[str, Any], str]
"""The answer as a JSON document, and as text."""

DEFAULT_CACHE = Path("~/.cache/xception-service/models")


def run_publish(args: Namespace, progress: Progress) -> Answer:
    """Publish a folder as the next version."""
    remote = _remote(args, publishing=True)
    done = publish(args.folder, remote, args.model, labels=args.label, progress=progress)
    labels = f", labelled {', '.join(done.labels)}" if done.labels else ""
    return asdict(done), f"Published {done.model}:{done.version}{labels}\n{done.digest}"


def run_label(args: Namespace, progress: Progress) -> Answer:  # noqa: ARG001 -- one signature for all
    """Point a label to a version that exists."""
    check_label_name(args.label)
    remote, resolved = _resolved(args, publishing=True)
    fetch_version(remote, resolved)
    target = LabelTarget(version=resolved.version, manifest=resolved.manifest_digest)
    set_label(remote, resolved.model, args.label, target)
    document = {"model": resolved.model, "label": args.label, **target.model_dump()}
    return document, f"{resolved.model}:{args.label} is version {resolved.version} now"


def run_versions(args: Namespace, progress: Progress) -> Answer:  # noqa: ARG001 -- one signature for all
    """List the versions of a model."""
    remote = _remote(args)
    infos = list_versions(remote, args.model)
    if not infos:
        resolve(remote, args.model)  # says what there is instead
    rows = [("VERSION", "CREATED", "SIZE", "ACCURACY", "LABELS")]
    for info in infos:
        rows.append(
            (
                str(info.version),
                f"{info.created:%Y-%m-%d %H:%M}" if info.created else "–",
                human_size(info.size) if info.size is not None else "–",
                f"{info.accuracy:.3f}" if info.accuracy is not None else "–",
                info.problem or ", ".join(info.labels) or "–",
            )
        )
    versions = [{**asdict(info), "created": info.created.isoformat() if info.created else None} for info in infos]
    return {"model": args.model, "versions": versions}, _table(rows)


def run_show(args: Namespace, progress: Progress) -> Answer:  # noqa: ARG001 -- one signature for all
    """Show the manifest of a version."""
    remote, resolved = _resolved(args)
    manifest = fetch_version(remote, resolved).manifest
    record = read_labels(remote, resolved.model)
    labels = record.labels_of(resolved.version) if record else ()
    document = {
        **_identity(resolved),
        "labels": labels,
        "manifest": manifest.model_dump(mode="json"),
    }
    return document, _description(resolved, labels, manifest)


def run_pull(args: Namespace, progress: Progress) -> Answer:
    """Pull a version into the cache or into a new folder."""
    remote, resolved = _resolved(args)
    if args.output:
        model = pull_to_folder(remote, resolved, args.output, progress=progress)
    else:
        cache = Cache(args.cache or Path(os.environ.get("MODEL_CACHE_DIR") or DEFAULT_CACHE))
        model = pull(remote, resolved, cache, progress=progress)
    document = {**_identity(resolved), "path": str(model.root)}
    return document, f"Pulled {resolved} to {model.root}"


def run_verify(args: Namespace, progress: Progress) -> Answer:
    """Check every file of a local folder, or of a version in the store."""
    folder = Path(args.target)
    if folder.is_dir():
        total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        with progress.task(f"Checking {folder}", total) as advance:
            model = verify_folder(folder, passed=advance)
        count = len(model.files)
        return {"path": str(folder), "digest": model.digest, "files": count}, _good(str(folder), count)
    if "/" in args.target:
        raise UsageError(f"{args.target}: there is no such folder")
    if not (args.store or os.environ.get("MODEL_STORE_URL")):
        raise UsageError(f"{args.target}: there is no such folder; for a version in a store give --store URL")
    remote, resolved = _resolved(args, args.target)
    manifest = check_remote(remote, resolved, progress=progress)
    return {**_identity(resolved), "files": len(manifest.files)}, _good(str(resolved), len(manifest.files))


def run_models(args: Namespace, progress: Progress) -> Answer:  # noqa: ARG001 -- one signature for all
    """List the models in the store."""
    names = list_models(_remote(args))
    return {"models": names}, "\n".join(names) or "The store holds no model yet"


def _remote(args: Namespace, *, publishing: bool = False) -> Remote:
    url = args.store or os.environ.get("MODEL_STORE_URL")
    if not url:
        raise UsageError("no store is named: give --store URL, or set MODEL_STORE_URL")
    return Remote.open(url, publishing=publishing)


def _resolved(args: Namespace, text: str | None = None, *, publishing: bool = False) -> tuple[Remote, Resolved]:
    reference = parse_reference(text or args.reference)
    remote = _remote(args, publishing=publishing)
    return remote, resolve(remote, reference.model, reference.selector)


def _identity(resolved: Resolved) -> dict[str, Any]:
    return {"model": resolved.model, "version": resolved.version, "digest": resolved.manifest_digest}


def _good(what: str, count: int) -> str:
    return f"{what}: all {count} files are what the manifest says"


def _description(resolved: Resolved, labels: Sequence[str], manifest: Manifest) -> str:
    size = sum(file.size for file in manifest.files)
    lines = [
        f"{resolved}  {', '.join(labels)}".rstrip(),
        f"  digest        {resolved.manifest_digest}",
        f"  created       {manifest.created:%Y-%m-%d %H:%M %Z}",
        f"  architecture  {manifest.architecture}",
        f"  input         {manifest.input.height} × {manifest.input.width}, {manifest.input.color}",
        f"  classes       {len(manifest.classes)}: {', '.join(manifest.classes[:5])}"
        + (", …" if len(manifest.classes) > 5 else ""),
    ]
    if evaluation := manifest.evaluation:
        lines.append(f"  accuracy      {evaluation.accuracy:.3f} on {evaluation.examples} of {evaluation.data}")
    for variant in manifest.variants:
        accuracy = f"accuracy {variant.accuracy:.3f}" if variant.accuracy is not None else "not measured"
        lines.append(f"  variant       {variant.name}, {accuracy}")
    lines.extend(f"  {name[:12]:<12}  {value}" for name, value in manifest.provenance.items())
    lines.append(f"  files         {len(manifest.files)}, {human_size(size)}")
    lines.extend(f"    {human_size(file.size):>10}  {file.path}" for file in manifest.files)
    return "\n".join(lines)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
