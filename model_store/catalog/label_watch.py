"""Detect changes of labels with two small requests."""

from __future__ import annotations

from model_store.errors import AccessDeniedError, NotFoundError, ObjectNotFoundError
from model_store.store.remote import Remote

from .labels import MAX_RECORD_BYTES, LabelRecord, copy_path, last_from, newest_record, sequence_in
from .names import check_model_name


class LabelWatch:
    """Watches the labels of a model; a poll without a change costs two small requests."""

    def __init__(self, remote: Remote, model: str) -> None:
        self._remote = remote
        self._model = check_model_name(model)
        self._etag: str | None = None
        self._known: LabelRecord | None = None

    def poll(self) -> LabelRecord | None:
        """Return the newest record at the first call and whenever it has changed; else None.

        None also while the model has no labels. After an error the next call returns what this one missed.

        Raises:
            NotFoundError: There were labels, and now there are none.
            IntegrityError: A record is not valid, or of another format.
            StoreError: The store denied access, or could not be reached.
        """
        known = self._known
        etag, hint = self._etag, None
        try:
            if copy := self._remote.get_if_changed(copy_path(self._model), MAX_RECORD_BYTES, etag):
                hint, etag = sequence_in(copy[0]), copy[1]
            fresh = known is not None and copy is None
        except ObjectNotFoundError:
            etag, fresh = None, False
        except AccessDeniedError:
            # The copy is missing and the reader may not list, or access is denied: reading a record tells which.
            etag, fresh = None, False
        if fresh and known:
            newest: LabelRecord | None = last_from(self._remote, known, self._model)
        else:
            hints = {hint or 0, known.sequence if known else 0}
            newest = newest_record(self._remote, self._model, sorted(hints, reverse=True))
        self._etag = etag
        if newest is None and known:
            raise NotFoundError(
                f"{self._remote.url}: the labels of '{self._model}' are gone; is the store still there?"
            )
        if newest is None or newest == known:
            return None
        self._known = newest
        return newest
