"""Build the images of the Dockerfile with podman: `python scripts/container_build.py serving serving-tensorflow`.

The pip settings of this machine (`pip config list`, and certificates from the environment) are passed to the build as
secrets and do not end up in the images. BASE_IMAGE names the base image. The default is python:3.11-slim or, if that
can neither be found nor pulled, an image built from Debian packages.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent
PODMAN = str(ROOT / "scripts" / "container_podman.sh")

OFFICIAL_BASE = "python:3.11-slim"
LOCAL_BASE = "localhost/python-debian:3.11"
"""Replaces the official base image where it cannot be pulled."""

IMAGES = {
    "serving": "xception-service",
    "serving-tensorflow": "xception-service-tensorflow",
    "loadtest": "xception-service-loadtest",
}
"""Image name by target."""

_PIP_OPTIONS = ("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "proxy", "timeout", "retries")
"""Options of pip that say how to reach packages; a build gets no other pip settings of this machine."""

_CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Environment variables that name a bundle of certificate authorities."""

_MOUNTED_CERTIFICATES = "/run/secrets/ca.crt"
"""Where the Dockerfile mounts the secret `ca.crt`."""


def image_name(target: str) -> str:
    """Return the full name of a target's image."""
    return versioned(IMAGES[target])


def versioned(image: str) -> str:
    """Return the full name of an image, with the version of the project as its tag."""
    version: str = runpy.run_path(str(ROOT / "service" / "version.py"))["VERSION"]
    return f"localhost/{image}:{version}"


def base_image() -> str:
    """Return the name of the base image; pull or build it if it does not exist.

    Raises:
        SystemExit: There is no base image and none can be built.
    """
    if named := os.environ.get("BASE_IMAGE"):
        return named
    for image in (OFFICIAL_BASE, LOCAL_BASE):
        if _succeeds("image", "exists", image):
            return image
    if _succeeds("pull", "--quiet", OFFICIAL_BASE):
        return OFFICIAL_BASE
    print(f"{OFFICIAL_BASE} cannot be pulled; building {LOCAL_BASE} from Debian packages", flush=True)
    done = subprocess.run([str(ROOT / "scripts" / "container_base.sh"), LOCAL_BASE], check=False)
    if done.returncode != 0:
        raise SystemExit(
            f"neither {OFFICIAL_BASE} nor {LOCAL_BASE} is available; name another base image with BASE_IMAGE"
        )
    return LOCAL_BASE


def pip_settings() -> dict[str, str]:
    """Return the settings with which pip on this machine reaches packages, by option; variables take precedence."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    settings: dict[str, str] = {}
    for source, option, value in re.findall(r"^(:env:|global|install)\.([a-z-]+)=(.*)$", listed, re.MULTILINE):
        if option in (*_PIP_OPTIONS, "cert") and (source == ":env:" or option not in settings):
            settings[option] = " ".join(str(ast.literal_eval(value)).split())
    return settings


def pip_build_options(folder: Path) -> list[str]:
    """Write a pip.conf to a folder, and return the podman options that pass it and its files to a build."""
    settings = pip_settings()
    options: list[str] = []
    certificates = [settings.pop("cert", ""), *(os.environ.get(name, "") for name in _CERTIFICATES)]
    if found := next((path for path in certificates if path and Path(path).is_file()), None):
        settings["cert"] = _MOUNTED_CERTIFICATES
        options += ["--secret", f"id=ca.crt,src={found}"]
    paths = {urlsplit(word).path for option in settings if option != "cert" for word in settings[option].split()}
    for path in sorted(paths):
        if path.startswith("/") and (root := _package_folder(Path(path))):
            options += ["--volume", f"{root}:{root}:ro"]
    config = folder / "pip.conf"
    config.write_text("\n".join(["[global]", *(f"{option} = {value}" for option, value in settings.items()), ""]))
    return [*options, "--secret", f"id=pip.conf,src={config}"]


def _package_folder(path: Path) -> Path | None:
    """Return a folder of packages if it exists; for an index (`…/simple`) its parent, which may hold the packages."""
    if not path.is_dir():
        return None
    return path.parent if path.name == "simple" else path


def build_arguments(name: str, base: str) -> dict[str, str]:
    """Return the build arguments of an image: its base, and the values of its labels."""
    revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "BASE_IMAGE": base,
        "VERSION": name.rpartition(":")[2],
        "REVISION": revision.stdout.strip() or "unknown",
    }


def build(target: str, base: str) -> str:
    """Build a target and return the name of its image.

    Raises:
        SystemExit: The build failed; its output was printed.
    """
    name = image_name(target)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(PODMAN, "build", "--format", "docker", "--network", "host", "--target", target, "--tag", name),
                *(
                    word
                    for key, value in build_arguments(name, base).items()
                    for word in ("--build-arg", f"{key}={value}")
                ),
                *pip_build_options(Path(folder)),
                str(ROOT),
            ],
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(f"{target}: the build ended with {done.returncode}")
    return name


def _succeeds(*words: str) -> bool:
    return subprocess.run([PODMAN, *words], capture_output=True, check=False).returncode == 0


def print_size(name: str) -> None:
    """Print the name of an image and its size in MB."""
    inspected = subprocess.run(
        [PODMAN, "image", "inspect", "--format", "{{.Size}}", name], capture_output=True, text=True, check=True
    )
    print(f"{name}: {int(inspected.stdout) / 1e6:.0f} MB")


def main() -> None:
    """Build the requested targets, and print the names and sizes of the images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", choices=tuple(IMAGES), metavar="TARGET", help=" ".join(IMAGES))
    options = parser.parse_args()
    base = base_image()
    for name in [build(target, base) for target in options.targets]:
        print_size(name)


if __name__ == "__main__":
    main()
