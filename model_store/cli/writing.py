"""The commands that change a store."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import click

from model_store.catalog.fetch import fetch_version
from model_store.catalog.history import remove_label, roll_back
from model_store.catalog.labels import LabelChange, LabelRecord, LabelTarget, append_record
from model_store.catalog.names import check_label_name, check_note
from model_store.catalog.prune import plan_prune
from model_store.catalog.prune import prune as prune_versions
from model_store.catalog.reference import Reference, parse_selector, resolve
from model_store.errors import UsageError
from model_store.progress import human_size
from model_store.store.schemes import is_web
from model_store.transfer.publish import publish as publish_folder
from model_store.trust.signing import PASSWORD_VARIABLE, Signer

from .command import PATH, Session, StoreCommand, label_argument, model_argument, note_option
from .output import Output, table


@click.command(
    cls=StoreCommand,
    examples=(
        "package --model xception --label stable --note 'retrained on May data'",
        f"package --model xception --sign key.pem     # an encrypted key: {PASSWORD_VARIABLE}=…",
    ),
)
@click.argument("folder", metavar="DIR", type=PATH, help="Holds manifest.json and the files that it lists.")
@click.option("--model", metavar="NAME", required=True, help="Name of the model.")
@click.option("--label", "labels", metavar="LABEL", multiple=True, help="Point this label to it; repeatable.")
@click.option(
    "--sign",
    "key",
    metavar="KEY",
    type=PATH,
    help=f"Sign it with this private key: PEM, elliptic curve; {PASSWORD_VARIABLE} decrypts an encrypted one.",
)
@note_option
def publish(
    session: Session, folder: Path, model: str, labels: tuple[str, ...], key: Path | None, note: str | None
) -> Output:
    """Publish a folder as the next version of a model."""
    signer = Signer.from_file(key, os.environ.get(PASSWORD_VARIABLE)) if key else None
    if note and not labels:
        raise UsageError("--note goes into the history of the labels, so it needs --label LABEL")
    remote = session.open(publishing=True)
    done = publish_folder(folder, remote, model, labels=labels, note=note, signer=signer, progress=session.progress)
    more = [
        f", labelled {', '.join(done.labels)}" if done.labels else "",
        ", signed" if done.signed else "",
        f", the same manifest as version {done.same_as}" if done.same_as else "",
    ]
    return asdict(done), f"Published {done.model}:{done.version}{''.join(more)}\n{done.digest}"


@click.command(cls=StoreCommand, examples=("xception stable 3", "xception stable canary     # where canary points now"))
@model_argument
@label_argument
@click.argument("version", metavar="VERSION", help="A number, another label, or sha256:DIGEST of a manifest.")
@note_option
def label(session: Session, model: str, label: str, version: str, note: str | None) -> Output:
    """Point a label to a version, forward or back."""
    check_label_name(label)
    check_note(note)
    remote, resolved = session.resolve(Reference(model, parse_selector(version)), publishing=True)
    fetch_version(remote, resolved)
    target = LabelTarget(version=resolved.version, manifest=resolved.manifest_digest)
    changed = False

    def decide(current: LabelRecord | None) -> LabelChange:
        nonlocal changed
        changed = not (current and current.labels.get(label) == target)
        return LabelChange({label: target})

    record = append_record(remote, model, decide, action="label", note=note)
    document = {"model": model, "label": label, **target.model_dump(), "record": record.sequence, "changed": changed}
    return document, f"{model}:{label} is version {resolved.version} {'now' if changed else 'already'}"


@click.command(cls=StoreCommand, examples=("xception canary --note 'became stable'",))
@model_argument
@label_argument
@note_option
def unlabel(session: Session, model: str, label: str, note: str | None) -> Output:
    """Remove a label; the version stays.

    A removed label cannot be rolled back, and prune keeps no version for it. The label command creates it anew.
    """
    last = remove_label(session.open(publishing=True), model, label, note=note)
    document = {"model": model, "label": label, "from": last.model_dump(), "to": None}
    return document, f"{model}:{label} is removed; it was version {last.version}"


@click.command(cls=StoreCommand, examples=("xception stable --note 'scores look wrong'",))
@model_argument
@label_argument
@note_option
def rollback(session: Session, model: str, label: str, note: str | None) -> Output:
    """Point a label back to its previous version.

    A second rollback goes one version further back, never forward. The label command goes anywhere.
    """
    done = roll_back(session.open(publishing=True), model, label, note=note)
    document = {"model": model, "label": label, "from": done.before.model_dump(), "to": done.after.model_dump()}
    return document, f"{model}:{label} rolled back: version {done.before.version} → {done.after.version}"


@click.command(cls=StoreCommand, examples=("xception --keep 5", "xception --keep 5 --yes"))
@model_argument
@click.option("--keep", metavar="N", type=int, required=True, help="Number of the newest versions that stay.")
@click.option("--yes", is_flag=True, help="Really delete.")
@note_option
def prune(session: Session, model: str, keep: int, yes: bool, note: str | None) -> Output:
    """Delete old versions; without --yes only list them.

    The newest N versions stay, those that a label points to, and those that a rollback of a label would go back to.
    What a publish left that was interrupted more than a day ago is deleted too. After unlabel nothing is kept for a
    label.
    """
    remote = session.open()
    if is_web(remote.url):
        raise UsageError(f"{remote.url}: a web server's store is read-only; `prune` the bucket or folder behind it")
    plan = plan_prune(remote, model, keep)
    if not (plan.candidates or plan.kept):
        resolve(remote, model)  # raises an error that names the models there are
    if yes:
        with session.progress.task(f"Pruning {model}", plan.size) as advance:
            plan = prune_versions(remote, model, keep, note=note, deleted=lambda candidate: advance(candidate.size))
    word = "deleted" if yes else "delete"
    lines = [
        (candidate.version, word, human_size(candidate.size), str(candidate.reason)) for candidate in plan.candidates
    ]
    lines += [(kept.version, "keep", "–", kept.why) for kept in plan.kept]
    rows = [("VERSION", "", "SIZE", "WHY"), *((str(version), *rest) for version, *rest in sorted(lines))]
    amount = f"{len(plan.candidates)} of {len(lines)}, {human_size(plan.size)}"
    summary = f"Deleted {amount}" if yes else f"Nothing was deleted; --yes would delete {amount}"
    if not yes and any(kept.labels for kept in plan.kept):
        summary = f"To keep no version for a label any more: unlabel {model} LABEL\n{summary}"
    document = {
        "model": plan.model,
        "dry_run": not yes,
        "deleted" if yes else "would_delete": [
            {"version": candidate.version, "reason": candidate.reason, "size": candidate.size}
            for candidate in plan.candidates
        ],
        "kept": [asdict(kept) for kept in plan.kept],
    }
    return document, f"{table(rows)}\n{summary}"
