"""The versions to serve: the default one, and every other that a label points to."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass
from functools import cached_property

from engines.selection import choose_variant
from model_store.catalog.label_watch import LabelWatch
from model_store.catalog.labels import LabelRecord
from model_store.catalog.reference import Resolved, parse_selector, resolve
from model_store.errors import UnavailableError
from model_store.store.remote import Remote
from model_store.transfer.cache import Cache
from model_store.transfer.pull import pull
from model_store.trust.manifest import Manifest, is_digest
from model_store.trust.signing import Trust
from model_store.trust.verify import VerifiedModel
from service.settings import Settings


@dataclass(frozen=True)
class DesiredVersions:
    """The desired versions, by the store and the settings, at one time."""

    default: Resolved
    """The version of requests that name none."""
    labels: Mapping[str, Resolved]
    """The version of each label."""

    def versions(self, loaded: Container[int] = ()) -> list[Resolved]:
        """Return the distinct versions: the default one, then loaded ones, then by the names of their labels."""
        found: dict[int, Resolved] = {}
        for label in sorted(self.labels):
            found.setdefault(self.labels[label].version, self.labels[label])
        others = [resolved for version, resolved in found.items() if version != self.default.version]
        return [self.default, *sorted(others, key=lambda resolved: resolved.version not in loaded)]

    def targets(self) -> dict[str, int]:
        """Return the version of each label; the empty label stands for the default."""
        return {"": self.default.version, **{label: found.version for label, found in self.labels.items()}}

    def limited(self, max_versions: int, loaded: Container[int] = ()) -> tuple[DesiredVersions, list[Resolved]]:
        """Return the desired versions within a limit, and the excess versions.

        A loaded version takes precedence over one that is not loaded.
        """
        versions = self.versions(loaded)
        allowed = {resolved.version for resolved in versions[:max_versions]}
        labels = {label: resolved for label, resolved in self.labels.items() if resolved.version in allowed}
        return DesiredVersions(self.default, labels), versions[max_versions:]


class VersionSource:
    """The remote store and the local cache of one service; every call blocks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cache = Cache(settings.model_cache_dir)
        self._record: LabelRecord | None = None
        self._pinned: Resolved | None = None

    @cached_property
    def _remote(self) -> Remote:
        return Remote.open(self._settings.model_store_url, patience_s=self._settings.model_store_timeout_s)

    @cached_property
    def _watch(self) -> LabelWatch:
        return LabelWatch(self._remote, self._settings.model_name)

    @cached_property
    def _trust(self) -> Trust | None:
        key = self._settings.model_public_key
        return Trust.from_file(key) if key else None

    def read(self) -> DesiredVersions:
        """Read the desired versions from the store; two small requests if nothing has changed.

        Raises:
            NotFoundError: The store holds no such model, version or label; the message lists what exists.
            StoreError: The store denied access, or could not be reached.
        """
        name, selector = self._settings.model_name, parse_selector(self._settings.model_version)
        self._record = self._watch.poll() or self._record
        labels = {
            label: Resolved(name, target.version, target.manifest, label)
            for label, target in (self._record.labels if self._record else {}).items()
        }
        if selector in labels:
            return DesiredVersions(labels[str(selector)], labels)
        if isinstance(selector, int) or is_digest(selector):  # Always the same version.
            self._pinned = self._pinned or resolve(self._remote, name, selector)
            return DesiredVersions(self._pinned, labels)
        return DesiredVersions(resolve(self._remote, name, selector), labels)

    def last_served(self) -> Resolved | None:
        """Return the version that served last as the default one, if the cache still holds it."""
        return self._cache.recall(self._settings.model_name, self._settings.model_version)

    def record_last_served(self, model: VerifiedModel) -> None:
        """Record that a version serves as the default one.

        Raises:
            DiskError: The cache cannot be written.
        """
        self._cache.remember(model, self._settings.model_version)

    def prune_cache(self, in_use: Collection[str]) -> None:
        """Delete the oldest versions in the cache beyond `MODEL_CACHE_VERSIONS`.

        Args:
            in_use: Digests of all versions in memory.

        Raises:
            DiskError: The cache cannot be written.
        """
        self._cache.shrink(self._settings.model_name, self._settings.model_cache_versions, in_use)

    def pull(self, resolved: Resolved) -> VerifiedModel:
        """Pull the files that this machine needs into the cache, and return the proof that they are verified.

        Raises:
            StoreError: They do not match their digests, are not signed as required, or are not available.
            LookupError: No variant of the version can be served here.
        """
        settings = self._settings

        def needed(manifest: Manifest) -> tuple[str, ...]:
            return manifest.serving_files(
                choose_variant(manifest, settings.engine, settings.precision, settings.max_accuracy_loss)
            )

        return pull(self._remote, resolved, self._cache, select=needed, trust=self._trust)


def pull_default(settings: Settings) -> VerifiedModel:
    """Pull the default version, or the one that served last from the cache while the store is unavailable.

    Raises:
        StoreError: No verified version is available; the message says why.
        LookupError: No variant of the version can be served here.
    """
    source = VersionSource(settings)
    try:
        return source.pull(source.read().default)
    except UnavailableError:
        if (resolved := source.last_served()) is None:
            raise
        return source.pull(resolved)
