"""The file of API keys, with the hash of each key.

{"keys": [{"name": "shop", "sha256": "9f86d08…", "images_per_second": 50, "priority": "interactive"}]}
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class KeyEntry(BaseModel):
    """A key in the file; two keys of one name let a client change from one to the other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the key, in hexadecimal."""
    images_per_second: Annotated[float, Field(gt=0)] | None = None
    """Average rate limit; None is unlimited."""
    priority: Literal["interactive", "bulk"] = "interactive"
    """The highest priority of its requests."""


class KeyFile(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid")

    keys: list[KeyEntry]


def read_keys(path: Path) -> KeyFile:
    """Read the file of keys.

    Raises:
        ValueError: It cannot be read or is not valid; the message names the file and the field.
    """
    try:
        return KeyFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{path}: {'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}") from None
