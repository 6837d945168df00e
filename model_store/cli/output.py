"""The output of the commands, as JSON documents and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from model_store.catalog.history import Change
from model_store.catalog.reference import Resolved
from model_store.progress import human_size
from model_store.trust.manifest import Manifest
from model_store.trust.signing import Trust

Output = tuple[dict[str, Any], str]
"""The output of a command as a JSON document, and as text."""


def change_document(change: Change) -> dict[str, Any]:
    """Return a change of labels for JSON."""
    moves = [
        {
            "label": move.label,
            "from": move.before.model_dump() if move.before else None,
            "to": move.after.model_dump() if move.after else None,
        }
        for move in change.moves
    ]
    return {**asdict(change), "created": change.created.isoformat(), "moves": moves}


def moves_text(change: Change) -> str:
    """Return what a change did to the labels, in one line."""
    parts = [
        f"{move.label}: {move.before.version if move.before else '–'} → {move.after.version if move.after else '–'}"
        for move in change.moves
    ]
    if change.pruned:
        parts.append(f"pruned: {', '.join(map(str, change.pruned))}")
    return ", ".join(parts) or "–"


def identity_document(resolved: Resolved) -> dict[str, Any]:
    """Return the identity of a version for JSON."""
    return {"model": resolved.model, "version": resolved.version, "digest": resolved.manifest_digest}


def verified(what: str, document: dict[str, Any], files: int, trust: Trust | None) -> Output:
    """Return the output of a check that found all files good, and the signature, if a key was given."""
    document = {**document, "files": files}
    text = f"{what}: all {files} files are what the manifest says"
    if trust is None:
        return document, text
    return {**document, "signed": True, "key": trust.source}, f"{text}, signed with the key of {trust.source}"


def description(resolved: Resolved, labels: Sequence[str], signature: str, manifest: Manifest) -> str:
    """Return the description of a version as text."""
    size = sum(file.size for file in manifest.files)
    lines = [
        f"{resolved}  {', '.join(labels)}".rstrip(),
        f"  digest        {resolved.manifest_digest}",
        f"  signature     {signature}",
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
    known = [(name, value) for name, value in manifest.provenance.items() if value is not None]
    lines.extend(f"  {name[:12]:<12}  {value}" for name, value in known)
    lines.append(f"  files         {len(manifest.files)}, {human_size(size)}")
    lines.extend(f"    {human_size(file.size):>10}  {file.path}" for file in manifest.files)
    return "\n".join(lines)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns, without the control characters that others may have written into the store."""
    clean = [["".join(letter if letter.isprintable() else "?" for letter in cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in clean
    )
