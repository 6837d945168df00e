"""Keys to sign with, written as OpenSSL writes them, and the judgement of the package that defines signatures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from model_store.trust.signing import Trust


def write_key(root: Path, name: str, private: Any, password: bytes | None = None) -> Path:
    """Write NAME.pem and NAME.pub, and return the private one."""
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem, public = root / f"{name}.pem", root / f"{name}.pub"
    pem.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    public.write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return pem


def trust_of(key: Path) -> Trust:
    return Trust.from_file(key.with_suffix(".pub"))


def package_verifies(folder: Path, key: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature"]
    command += [str(folder / "model.sig"), "--public_key", str(key.with_suffix(".pub")), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
