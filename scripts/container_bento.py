"""Build the image `xception-service-bento` with podman: `bentoml build`, then `bentoml containerize`.

The base image, the labels and pip's settings are the same as scripts/container_build.py uses for the other images. The
Bento is built in a temporary BENTOML_HOME and deleted; `make bento` builds one that is kept. Needs .venv, because
BentoML runs here.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from container_build import PODMAN, ROOT, base_image, build_arguments, pip_build_options, print_size, versioned

IMAGE = "xception-service-bento"


def make_bento(environment: dict[str, str]) -> str:
    """Run `bentoml build` and return the tag of the Bento.

    Raises:
        SystemExit: The command failed; its output was printed.
    """
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bentoml build ended with {done.returncode}\n{done.stdout}")
    return done.stdout.strip().removeprefix("__tag__:")


def containerize(bento: str, base: str, environment: dict[str, str], folder: Path) -> str:
    """Run `bentoml containerize` and return the name of the image.

    Args:
        bento: The tag of the Bento.
        base: The image to build on.
        environment: The environment variables, with the BENTOML_HOME of the Bento.
        folder: A temporary folder that exists during the build.

    Raises:
        SystemExit: The command failed; its output was printed.
    """
    name = versioned(IMAGE)
    pip_options = pip_build_options(folder)
    pairs = list(zip(pip_options[::2], pip_options[1::2], strict=True))
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
        # BentoML unpacks the Bento below the temporary folder, and only reads templates below its working directory.
        cwd=tempfile.gettempdir(),
        # An image in OCI format, BentoML's default, has no HEALTHCHECK.
        env={
            **environment,
            "BUILDAH_FORMAT": "docker",
            "PATH": f"{write_podman_wrapper(folder, volumes)}:{environment['PATH']}",
        },
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"bentoml containerize ended with {done.returncode}")
    return name


def write_podman_wrapper(folder: Path, options: list[str]) -> Path:
    """Write a `podman` command that adds options to every call, and return the folder to put on the PATH.

    It calls scripts/container_podman.sh. The options are added here because BentoML would merge several volumes into
    one.
    """
    wrapper = folder / "bin" / "podman"
    wrapper.parent.mkdir()
    path = shlex.quote(f"PATH={os.environ['PATH']}")
    wrapper.write_text(f'#!/bin/sh\nexec env {path} {shlex.join([PODMAN])} "$@" {shlex.join(options)}\n')
    wrapper.chmod(0o755)
    return wrapper.parent


def main() -> None:
    """Build the image, and print its name and size."""
    base = base_image()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "BENTOML_HOME": f"{folder}/bentoml", "BENTOML_DO_NOT_TRACK": "True"}
        name = containerize(make_bento(environment), base, environment, Path(folder))
    print_size(name)


if __name__ == "__main__":
    main()
