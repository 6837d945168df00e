"""The version of the project, for everything that names it: package, images, manifests and the server's metadata.

A constant, since the images hold the source without the metadata of an installed package.
"""

from typing import Final

VERSION: Final = "0.7.0"
