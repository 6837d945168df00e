"""Build the images of the Dockerfile with podman: `python scripts/container_build.py serving serving-tensorflow`.

What pip needs on this machine to reach its index (`pip config list`, and the certificates that the environment names)
is lent to the build and stays out of the images. BASE_IMAGE names the image to build on. Without it that is
python:3.11-slim, and where it is neither there nor can be pulled, one made from Debian's packages.
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
"""What stands in for it."""

IMAGES = {
    "serving": "xception-service",
    "serving-tensorflow": "xception-service-tensorflow",
    "loadtest": "xception-service-loadtest",
}
"""The name of the image of each target."""

_PIP_OPTIONS = ("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "proxy", "timeout", "retries")
"""What says how pip gets to packages; whatever else is set on this machine is nothing to a build."""

_CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name a bundle of certificate authorities."""

_LENT_CERTIFICATES = "/run/secrets/ca.crt"
"""Where the Dockerfile finds the secret `ca.crt`."""


def image_name(target: str) -> str:
    """Return the full name of a target's image."""
    return versioned(IMAGES[target])


def versioned(image: str) -> str:
    """Return the full name of an image, with the version of the project as its tag."""
    version: str = runpy.run_path(str(ROOT / "service" / "version.py"))["VERSION"]
    return f"localhost/{image}:{version}"


def base_image() -> str:
    """Return the image to build on, pulled or made if it was not there.

    Raises:
        SystemExit: There is none and none can be made.
    """
    if named := os.environ.get("BASE_IMAGE"):
        return named
    for image in (OFFICIAL_BASE, LOCAL_BASE):
        if _succeeds("image", "exists", image):
            return image
    if _succeeds("pull", "--quiet", OFFICIAL_BASE):
        return OFFICIAL_BASE
    print(f"{OFFICIAL_BASE} cannot be pulled; making {LOCAL_BASE} from Debian's packages", flush=True)
    done = subprocess.run([str(ROOT / "scripts" / "container_base.sh"), LOCAL_BASE], check=False)
    if done.returncode != 0:
        raise SystemExit(f"no {OFFICIAL_BASE} and no {LOCAL_BASE}; name another image with BASE_IMAGE")
    return LOCAL_BASE


def pip_settings() -> dict[str, str]:
    """Return how pip of this machine gets to packages, by the names of its options; variables come before files."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    settings: dict[str, str] = {}
    for place, option, value in re.findall(r"^(:env:|global|install)\.([a-z-]+)=(.*)$", listed, re.MULTILINE):
        if option in (*_PIP_OPTIONS, "cert") and (place == ":env:" or option not in settings):
            settings[option] = " ".join(str(ast.literal_eval(value)).split())
    return settings


def lend_pip(folder: Path) -> list[str]:
    """Write what pip needs to a folder, and return the options of a build that lend it."""
    settings = pip_settings()
    options: list[str] = []
    certificates = [settings.pop("cert", ""), *(os.environ.get(name, "") for name in _CERTIFICATES)]
    if found := next((path for path in certificates if path and Path(path).is_file()), None):
        settings["cert"] = _LENT_CERTIFICATES
        options += ["--secret", f"id=ca.crt,src={found}"]
    places = {urlsplit(word).path for option in settings if option != "cert" for word in settings[option].split()}
    for place in sorted(places):
        if place.startswith("/") and (root := _existing_folder(Path(place))):
            options += ["--volume", f"{root}:{root}:ro"]
    written = folder / "pip.conf"
    written.write_text("\n".join(["[global]", *(f"{option} = {value}" for option, value in settings.items()), ""]))
    return [*options, "--secret", f"id=pip.conf,src={written}"]


def _existing_folder(place: Path) -> Path | None:
    """Return a folder of packages; of an index (`…/simple`) the one above it, where the packages may lie."""
    if not place.is_dir():
        return None
    return place.parent if place.name == "simple" else place


def build_arguments(name: str, base: str) -> dict[str, str]:
    """Return what the build of an image is told: what to build on, and what its labels say."""
    revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "BASE_IMAGE": base,
        "VERSION": name.rpartition(":")[2],
        "REVISION": revision.stdout.strip() or "unknown",
    }


def build(target: str, base: str) -> str:
    """Build a target and return the name of its image.

    Raises:
        SystemExit: The build failed; what it said was printed.
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
                *lend_pip(Path(folder)),
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
    """Print what came out, as the last line: the name of an image and its size in MB."""
    said = subprocess.run(
        [PODMAN, "image", "inspect", "--format", "{{.Size}}", name], capture_output=True, text=True, check=True
    )
    print(f"{name}: {int(said.stdout) / 1e6:.0f} MB")


def main() -> None:
    """Build what is asked for, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", choices=tuple(IMAGES), metavar="TARGET", help=" ".join(IMAGES))
    options = parser.parse_args()
    base = base_image()
    for name in [build(target, base) for target in options.targets]:
        print_size(name)


if __name__ == "__main__":
    main()
