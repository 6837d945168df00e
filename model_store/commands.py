"""What each command of `python -m model_store` does, and how its answer reads."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import asdict
from functools import partial
from pathlib import Path

from .address import is_web
from .answers import Answer, change_document, description, identity_document, moves_text, table, verified
from .cache import Cache
from .disk import disk_errors
from .errors import NotFoundError, UsageError
from .fetch import fetch_version
from .history import read_history, remove_label, roll_back
from .labels import LabelChange, LabelRecord, LabelTarget, append_record, read_labels
from .manifest import Manifest
from .names import check_label_name, check_note
from .progress import Progress, human_size
from .prune import plan_prune, prune
from .publish import publish
from .pull import check_remote, pull, pull_to_folder
from .reference import Reference, Resolved, parse_reference, parse_selector, resolve
from .remote import Remote
from .signing import MAX_SIGNATURE_BYTES, PASSWORD_VARIABLE, Signer, Trust
from .verify import read_manifest, read_signature, verify_folder
from .versions import list_models, list_versions, missing_targets, signature_path

DEFAULT_CACHE = Path("~/.cache/xception-service/models")

LOCAL_STORE = Path(".local/store")
"""Where `make serve` publishes to; taken when it is there and no store is named, as the server does."""


def run_publish(args: Namespace, progress: Progress) -> Answer:
    """Publish a folder as the next version."""
    signer = Signer.from_file(args.sign, os.environ.get(PASSWORD_VARIABLE)) if args.sign else None
    if args.note and not args.label:
        raise UsageError("--note goes into the history of the labels, so it needs --label LABEL")
    done = publish(
        args.folder,
        _remote(args, publishing=True),
        args.model,
        labels=args.label,
        note=args.note,
        signer=signer,
        progress=progress,
    )
    more = [
        f", labelled {', '.join(done.labels)}" if done.labels else "",
        ", signed" if done.signed else "",
        f", the same manifest as version {done.same_as}" if done.same_as else "",
    ]
    return asdict(done), f"Published {done.model}:{done.version}{''.join(more)}\n{done.digest}"


def run_label(args: Namespace, progress: Progress) -> Answer:  # noqa: ARG001 -- one signature for all
    """Point a label to a version that exists."""
    check_label_name(args.label)
    check_note(args.note)
    reference = Reference(args.model, parse_selector(args.version))
    remote, resolved = _resolved(args, reference, publishing=True)
    fetch_version(remote, resolved)
    target = LabelTarget(version=resolved.version, manifest=resolved.manifest_digest)
    changed = False

    def decide(current: LabelRecord | None) -> LabelChange:
        nonlocal changed
        changed = not (current and current.labels.get(args.label) == target)
        return LabelChange({args.label: target})

    record = append_record(remote, resolved.model, decide, action="label", note=args.note)
    document = {
        "model": resolved.model,
        "label": args.label,
        **target.model_dump(),
        "record": record.sequence,
        "changed": changed,
    }
    return document, f"{resolved.model}:{args.label} is version {resolved.version} {'now' if changed else 'already'}"


def run_unlabel(args: Namespace, progress: Progress) -> Answer:  # noqa: ARG001 -- one signature for all
    """Take a label away."""
    last = remove_label(_remote(args, publishing=True), args.model, args.label, note=args.note)
    document = {"model": args.model, "label": args.label, "from": last.model_dump(), "to": None}
    return document, f"{args.model}:{args.label} is taken away; it was version {last.version}"


def run_rollback(args: Namespace, progress: Progress) -> Answer:  # noqa: ARG001 -- one signature for all
    """Point a label back to where it stood before."""
    done = roll_back(_remote(args, publishing=True), args.model, args.label, note=args.note)
    document = {
        "model": done.model,
        "label": done.label,
        "from": done.before.model_dump(),
        "to": done.after.model_dump(),
    }
    return document, f"{done.model}:{done.label} rolled back: version {done.before.version} → {done.after.version}"


def run_history(args: Namespace, progress: Progress) -> Answer:  # noqa: ARG001 -- one signature for all
    """List the changes of a model's labels."""
    if args.label:
        check_label_name(args.label)
    remote = _remote(args)
    changes = read_history(remote, args.model)
    if not changes:
        resolve(remote, args.model)  # says what there is instead
    if args.label:
        changes = [change for change in changes if any(move.label == args.label for move in change.moves)]
        if not changes:
            raise NotFoundError(f"{remote.url}: model '{args.model}' never had a label '{args.label}'")
    rows = [("NUMBER", "TIME", "ACTION", "CHANGE", "BY", "NOTE")]
    rows.extend(
        (
            str(change.sequence),
            f"{change.created:%Y-%m-%d %H:%M:%S}",
            change.action or "–",
            moves_text(change),
            change.by or "–",
            change.note or "",
        )
        for change in changes
    )
    return {"model": args.model, "changes": [change_document(change) for change in changes]}, table(rows)


def run_prune(args: Namespace, progress: Progress) -> Answer:
    """Delete old versions, or say which ones."""
    remote = _remote(args)
    if is_web(remote.url):
        raise UsageError(f"{remote.url}: a web server's store is read-only; `prune` the bucket or folder behind it")
    plan = plan_prune(remote, args.model, args.keep)
    if not (plan.doomed or plan.kept):
        resolve(remote, args.model)  # says what there is instead
    if args.yes:
        with progress.task(f"Pruning {args.model}", plan.size) as advance:
            plan = prune(remote, args.model, args.keep, note=args.note, deleted=lambda doomed: advance(doomed.size))
    word = "deleted" if args.yes else "delete"
    lines = [(doomed.version, word, human_size(doomed.size), str(doomed.reason)) for doomed in plan.doomed]
    lines += [(kept.version, "keep", "–", kept.why) for kept in plan.kept]
    rows = [("VERSION", "", "SIZE", "WHY"), *((str(version), *rest) for version, *rest in sorted(lines))]
    amount = f"{len(plan.doomed)} of {len(lines)}, {human_size(plan.size)}"
    summary = f"Deleted {amount}" if args.yes else f"Nothing was deleted; --yes would delete {amount}"
    if not args.yes and any(kept.labels for kept in plan.kept):
        summary = f"To keep no version for a label any more: unlabel {args.model} LABEL\n{summary}"
    document = {
        "model": plan.model,
        "dry_run": not args.yes,
        "deleted" if args.yes else "would_delete": [
            {"version": doomed.version, "reason": doomed.reason, "size": doomed.size} for doomed in plan.doomed
        ],
        "kept": [asdict(kept) for kept in plan.kept],
    }
    return document, f"{table(rows)}\n{summary}"


def run_versions(args: Namespace, progress: Progress) -> Answer:  # noqa: ARG001 -- one signature for all
    """List the versions of a model."""
    remote = _listable(args, "`versions`", f"`show {args.model}:LABEL` or `history {args.model}`")
    infos = list_versions(remote, args.model)
    missing = missing_targets(remote, args.model, infos)
    if not (infos or missing):
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
    document = {
        "model": args.model,
        "versions": versions,
        "missing": [{"label": label, "version": version} for label, version in missing.items()],
    }
    gone = [f"{label} → {version}, which is missing" for label, version in missing.items()]
    return document, "\n".join([table(rows), *gone])


def run_show(args: Namespace, progress: Progress) -> Answer:  # noqa: ARG001 -- one signature for all
    """Show the manifest of a version."""
    trust = _trust(args)
    remote, resolved = _resolved(args, parse_reference(args.reference))
    manifest = fetch_version(remote, resolved, trust).manifest
    record = read_labels(remote, resolved.model)
    labels = record.labels_of(resolved.version) if record else ()
    signature = f"good, by the key of {trust.source}" if trust else _unchecked(remote, resolved)
    document = {
        **identity_document(resolved),
        "labels": labels,
        "signature": signature,
        "manifest": manifest.model_dump(mode="json"),
    }
    return document, description(resolved, labels, signature, manifest)


def run_pull(args: Namespace, progress: Progress) -> Answer:
    """Pull a version, or what serving one variant of it takes, into the cache; or all of it into a new folder."""
    if args.variant and args.output:
        raise UsageError("--variant is for the cache; a folder of --output holds the whole version")
    trust = _trust(args)
    remote, resolved = _resolved(args, parse_reference(args.reference))
    if args.output:
        model = pull_to_folder(remote, resolved, args.output, progress=progress, trust=trust)
    else:
        cache = Cache(args.cache or Path(os.environ.get("MODEL_CACHE_DIR") or DEFAULT_CACHE))
        select = partial(_files_to_serve, args.variant) if args.variant else None
        model = pull(remote, resolved, cache, select=select, progress=progress, trust=trust)
    document = {**identity_document(resolved), "path": str(model.root)}
    return document, f"Pulled {resolved} to {model.root}"


def _files_to_serve(name: str, manifest: Manifest) -> tuple[str, ...]:
    for variant in manifest.variants:
        if variant.name == name:
            return manifest.serving_files(variant)
    raise NotFoundError(f"--variant {name}: the version has {', '.join(one.name for one in manifest.variants)}")


def run_verify(args: Namespace, progress: Progress) -> Answer:
    """Check every file of a local folder, or of a version in the store."""
    trust = _trust(args)
    folder = Path(args.target)
    if folder.is_dir():
        if trust:
            with disk_errors(folder):
                trust.check(read_manifest(folder)[0], read_signature(folder), str(folder))
        total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        with progress.task(f"Checking {folder}", total) as advance:
            model = verify_folder(folder, passed=advance)
        return verified(str(folder), {"path": str(folder), "digest": model.digest}, len(model.files), trust)
    if "/" in args.target:
        raise NotFoundError(f"{args.target}: there is no such folder")
    if not _store_url(args):
        raise UsageError(f"{args.target}: there is no such folder; for a version in a store give --store URL")
    remote, resolved = _resolved(args, parse_reference(args.target))
    manifest = check_remote(remote, resolved, progress=progress, trust=trust)
    return verified(str(resolved), identity_document(resolved), len(manifest.files), trust)


def run_models(args: Namespace, progress: Progress) -> Answer:  # noqa: ARG001 -- one signature for all
    """List the models in the store."""
    names = list_models(_listable(args, "`models`", "`show NAME` or `history NAME`"))
    return {"models": names}, "\n".join(names) or "The store holds no model yet"


def _store_url(args: Namespace) -> str | None:
    named: str | None = args.store or os.environ.get("MODEL_STORE_URL")
    return named or (LOCAL_STORE.absolute().as_uri() if LOCAL_STORE.is_dir() else None)


def _remote(args: Namespace, *, publishing: bool = False) -> Remote:
    url = _store_url(args)
    if not url:
        raise UsageError("no store is named: give --store URL, or set MODEL_STORE_URL")
    return Remote.open(url, publishing=publishing)


def _listable(args: Namespace, command: str, instead: str) -> Remote:
    remote = _remote(args)
    if is_web(remote.url):
        raise UsageError(
            f"{remote.url}: {command} needs a listing, which a web server does not give; use {instead}, "
            "or the bucket or folder behind it"
        )
    return remote


def _resolved(args: Namespace, reference: Reference, *, publishing: bool = False) -> tuple[Remote, Resolved]:
    remote = _remote(args, publishing=publishing)
    return remote, resolve(remote, reference.model, reference.selector)


def _trust(args: Namespace) -> Trust | None:
    key = args.public_key or os.environ.get("MODEL_PUBLIC_KEY")
    return Trust.from_file(Path(key)) if key else None


def _unchecked(remote: Remote, resolved: Resolved) -> str:
    """Say whether a version has a signature that nobody gave a key for."""
    found = remote.get_if_exists(signature_path(resolved.model, resolved.version), MAX_SIGNATURE_BYTES)
    return "none" if found is None else "there, not checked: give --public-key FILE"
