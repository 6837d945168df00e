"""Build the image `xception-service-bento` with podman: `bentoml build`, then `bentoml containerize`.

BentoML gets the same options as podman for the other images (scripts/container_build.py): the base, the labels, and how
pip gets to packages. The Bento is kept in a folder of its own and thrown away; `make bento` makes one that stays.
.venv is needed, as BentoML runs here.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from container_build import PODMAN, ROOT, base_image, build_arguments, lend_pip, print_size, versioned

IMAGE = "xception-service-bento"


def make_bento(environment: dict[str, str]) -> str:
    """Run `bentoml build` and return the tag of the Bento.

    Raises:
        SystemExit: It failed; what it said was printed.
    """
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bentoml build ended with {done.returncode}\n{done.stdout}")
    return done.stdout.strip().removeprefix("__tag__:")


def containerize(bento: str, base: str, environment: dict[str, str], folder: Path) -> str:
    """Run `bentoml containerize` and return the name of the image.

    Args:
        bento: Its tag.
        base: The image to build on.
        environment: With BENTOML_HOME, where the Bento is.
        folder: For what lives as long as the build.

    Raises:
        SystemExit: It failed; what it said was printed.
    """
    name = versioned(IMAGE)
    lent = lend_pip(folder)
    pairs = list(zip(lent[::2], lent[1::2], strict=True))
    options = [
        "network=host",
        *(f"build-arg={key}={value}" for key, value in build_arguments(name, base).items()),
        *(f"secret={value}" for option, value in pairs if option == "--secret"),
    ]
    volumes = [word for pair in pairs if pair[0] == "--volume" for word in pair]
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "bentoml", "containerize", bento, "--backend", "podman", "--image-tag", name),
            *(word for option in options for word in ("--opt", option)),
        ],
        # BentoML unpacks the Bento among the temporary files, and reads no template outside of where it was started.
        cwd=tempfile.gettempdir(),
        # An image of the OCI's format, which BentoML asks for otherwise, has no HEALTHCHECK.
        env={**environment, "BUILDAH_FORMAT": "docker", "PATH": f"{stand_in(folder, volumes)}:{environment['PATH']}"},
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"bentoml containerize ended with {done.returncode}")
    return name


def stand_in(folder: Path, options: list[str]) -> Path:
    """Write a `podman` that BentoML finds on the PATH, and return the folder that it is in.

    It has the settings of scripts/container_podman.sh. The options come last, as BentoML makes one volume of several.
    """
    written = folder / "bin" / "podman"
    written.parent.mkdir()
    path = shlex.quote(f"PATH={os.environ['PATH']}")
    written.write_text(f'#!/bin/sh\nexec env {path} {shlex.join([PODMAN])} "$@" {shlex.join(options)}\n')
    written.chmod(0o755)
    return written.parent


def main() -> None:
    """Build the image, and print what came out."""
    base = base_image()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "BENTOML_HOME": f"{folder}/bentoml", "BENTOML_DO_NOT_TRACK": "True"}
        name = containerize(make_bento(environment), base, environment, Path(folder))
    print_size(name)


if __name__ == "__main__":
    main()
