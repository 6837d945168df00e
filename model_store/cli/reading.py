"""The commands that leave a store as it is."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from model_store.catalog.fetch import fetch_version
from model_store.catalog.history import read_history
from model_store.catalog.labels import read_labels
from model_store.catalog.names import check_label_name
from model_store.catalog.reference import Resolved, parse_reference, resolve
from model_store.catalog.versions import list_models, list_versions, missing_targets, signature_path
from model_store.disk import disk_errors
from model_store.errors import NotFoundError, UsageError
from model_store.progress import human_size
from model_store.store.remote import Remote
from model_store.transfer.cache import Cache
from model_store.transfer.pull import check_remote, pull_to_folder
from model_store.transfer.pull import pull as pull_version
from model_store.trust.manifest import Manifest
from model_store.trust.signing import MAX_SIGNATURE_BYTES
from model_store.trust.verify import read_manifest, read_signature, verify_folder

from .command import (
    PATH,
    REFERENCE,
    Session,
    StoreCommand,
    model_argument,
    public_key_option,
    read_trust,
    reference_argument,
)
from .output import Output, change_document, description, identity_document, moves_text, table, verified

DEFAULT_CACHE = Path("~/.cache/xception-service/models")


@click.command(cls=StoreCommand, examples=("--store s3://bucket/models",))
def models(session: Session) -> Output:
    """List the models in the store."""
    names = list_models(session.open_listable("`models`", "`show NAME` or `history NAME`"))
    return {"models": names}, "\n".join(names) or "The store holds no model yet"


@click.command(cls=StoreCommand, examples=("xception",))
@model_argument
def versions(session: Session, model: str) -> Output:
    """List the versions of a model."""
    remote = session.open_listable("`versions`", f"`show {model}:LABEL` or `history {model}`")
    infos = list_versions(remote, model)
    missing = missing_targets(remote, model, infos)
    if not (infos or missing):
        resolve(remote, model)  # raises an error that names the models there are
    rows = [("VERSION", "CREATED", "SIZE", "ACCURACY", "LABELS")]
    rows.extend(
        (
            str(info.version),
            f"{info.created:%Y-%m-%d %H:%M}" if info.created else "–",
            human_size(info.size) if info.size is not None else "–",
            f"{info.accuracy:.3f}" if info.accuracy is not None else "–",
            info.problem or ", ".join(info.labels) or "–",
        )
        for info in infos
    )
    document = {
        "model": model,
        "versions": [{**asdict(info), "created": info.created.isoformat() if info.created else None} for info in infos],
        "missing": [{"label": label, "version": version} for label, version in missing.items()],
    }
    gone = [f"{label} → {version}, which is missing" for label, version in missing.items()]
    return document, "\n".join([table(rows), *gone])


@click.command(cls=StoreCommand, examples=("xception", "xception --label stable"))
@model_argument
@click.option("--label", metavar="LABEL", help="Show only the changes of this label.")
def history(session: Session, model: str, label: str | None) -> Output:
    """List the changes of a model's labels, the oldest first."""
    if label:
        check_label_name(label)
    remote = session.open()
    changes = read_history(remote, model)
    if not changes:
        resolve(remote, model)  # raises an error that names the models there are
    if label:
        changes = [change for change in changes if any(move.label == label for move in change.moves)]
        if not changes:
            raise NotFoundError(f"{remote.url}: model '{model}' never had a label '{label}'")
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
    return {"model": model, "changes": [change_document(change) for change in changes]}, table(rows)


@click.command(cls=StoreCommand, examples=("xception", "xception:3 --public-key key.pub"))
@reference_argument
@public_key_option
def show(session: Session, reference: str, public_key: Path | None) -> Output:
    """Show what a version is: digest, labels, signature, variants, files."""
    trust = read_trust(public_key)
    remote, resolved = session.resolve(parse_reference(reference))
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


@click.command(
    cls=StoreCommand,
    examples=(
        "xception:canary",
        "xception:stable --variant openvino/int8",
        "xception:3 --output folder --public-key key.pub",
    ),
)
@reference_argument
@click.option("--output", metavar="DIR", type=PATH, help="A new folder, instead of the cache.")
@click.option("--cache", metavar="DIR", type=PATH, help=f"Default: $MODEL_CACHE_DIR, or {DEFAULT_CACHE}.")
@click.option(
    "--variant", metavar="NAME", help="Only what serving this variant needs, such as openvino/int8; into the cache."
)
@public_key_option
def pull(
    session: Session,
    reference: str,
    output: Path | None,
    cache: Path | None,
    variant: str | None,
    public_key: Path | None,
) -> Output:
    """Pull a version, verified, into the cache or a folder."""
    if output and cache:
        raise UsageError("--cache is not allowed with --output")
    if variant and output:
        raise UsageError("--variant is for the cache; a folder of --output holds the whole version")
    trust = read_trust(public_key)
    remote, resolved = session.resolve(parse_reference(reference))
    if output:
        model = pull_to_folder(remote, resolved, output, progress=session.progress, trust=trust)
    else:
        target = Cache(cache or Path(os.environ.get("MODEL_CACHE_DIR") or DEFAULT_CACHE))
        select = partial(_files_to_serve, variant) if variant else None
        model = pull_version(remote, resolved, target, select=select, progress=session.progress, trust=trust)
    return {**identity_document(resolved), "path": str(model.root)}, f"Pulled {resolved} to {model.root}"


@click.command(
    cls=StoreCommand,
    examples=("folder", "xception:stable --public-key key.pub"),
)
@click.argument("target", metavar="PATH|NAME[:REF]", help=f"A folder that exists, or {REFERENCE}.")
@public_key_option
def verify(session: Session, target: str, public_key: Path | None) -> Output:
    """Hash every file of a folder, or of a version in the store."""
    trust = read_trust(public_key)
    folder = Path(target)
    if folder.is_dir():
        if trust:
            with disk_errors(folder):
                trust.check(read_manifest(folder)[0], read_signature(folder), str(folder))
        total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        with session.progress.task(f"Checking {folder}", total) as advance:
            model = verify_folder(folder, passed=advance)
        return verified(str(folder), {"path": str(folder), "digest": model.digest}, len(model.files), trust)
    if "/" in target:
        raise NotFoundError(f"{target}: there is no such folder")
    if not session.store_url:
        raise UsageError(f"{target}: there is no such folder; for a version in a store give --store URL")
    remote, resolved = session.resolve(parse_reference(target))
    manifest = check_remote(remote, resolved, progress=session.progress, trust=trust)
    return verified(str(resolved), identity_document(resolved), len(manifest.files), trust)


def _files_to_serve(name: str, manifest: Manifest) -> tuple[str, ...]:
    for variant in manifest.variants:
        if variant.name == name:
            return manifest.serving_files(variant)
    raise NotFoundError(f"--variant {name}: the version has {', '.join(one.name for one in manifest.variants)}")


def _unchecked(remote: Remote, resolved: Resolved) -> str:
    """Describe the signature of a version where no key is given to check it."""
    found = remote.get_if_exists(signature_path(resolved.model, resolved.version), MAX_SIGNATURE_BYTES)
    return "none" if found is None else "there, not checked: give --public-key FILE"
