"""How the answers of the commands read, as JSON documents and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .history import Change
from .manifest import Manifest
from .progress import human_size
from .reference import Resolved
from .signing import Trust

Answer = tuple[dict[str, Any], str]
"""The answer as a JSON document, and as text."""


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
        parts.append(f"given up: {', '.join(map(str, change.pruned))}")
    return ", ".join(parts) or "–"


def identity_document(resolved: Resolved) -> dict[str, Any]:
    """Return which version something is said of, for JSON."""
    return {"model": resolved.model, "version": resolved.version, "digest": resolved.manifest_digest}


def verified(what: str, document: dict[str, Any], files: int, trust: Trust | None) -> Answer:
    """Return the answer that all files were checked and are good, and whose signature was, if one was asked for."""
    document = {**document, "files": files}
    text = f"{what}: all {files} files are what the manifest says"
    if trust is None:
        return document, text
    return {**document, "signed": True, "key": trust.source}, f"{text}, signed with the key of {trust.source}"


def description(resolved: Resolved, labels: Sequence[str], signature: str, manifest: Manifest) -> str:
    """Return what a version is, for people."""
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
    """Align columns; what others wrote into the store cannot steer the terminal."""
    clean = [["".join(letter if letter.isprintable() else "?" for letter in cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in clean
    )
