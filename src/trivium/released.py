"""Files of released models that the package does not carry: where they lie, and how they get there.

Looked for, in this order: the folder that the environment variable ``TRIVIUM_MODELS`` names, ``releases/`` of a clone,
and the user's cache folder, which `fetch` fills.
"""

import logging
import os
from pathlib import Path

import platformdirs

from trivium.errors import MissingPackageError

VARIABLE = "TRIVIUM_MODELS"
CLONE = Path(__file__).parents[2] / "releases"
log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where downloads and text vectors are kept between runs."""
    return Path(platformdirs.user_cache_dir("trivium", appauthor=False))


def folders() -> list[Path]:
    """The folders that may hold released files, the first one first."""
    named = os.environ.get(VARIABLE)
    return [*([Path(named)] if named else []), CLONE, cache_folder() / "models"]


def find(name: str) -> Path | None:
    """The file (or folder) of that name, ``trivium-3g.safetensors`` or ``all-MiniLM-L6-v2``; ``None`` if absent."""
    return next((folder / name for folder in folders() if (folder / name).exists()), None)


def fetch(name: str, url: str, sha256: str) -> Path:
    """Downloads a file into the cache folder, once, and checks it.

    Args:
        name: its path below the folder of models.

    Raises:
        MissingPackageError: it cannot be had, or is not what was released.
    """
    import pooch  # with its client for HTTP a third of a second, and needed once on a machine

    place = cache_folder() / "models" / name
    pooch.get_logger().setLevel("WARNING")
    if not place.exists():
        log.info("downloading %s, once", url)
    try:
        return Path(pooch.retrieve(url, f"sha256:{sha256}", place.name, place.parent))
    except (OSError, ValueError) as reason:
        why = type(reason).__name__ if isinstance(reason, OSError) else " ".join(str(reason).split())
        raise MissingPackageError(
            f"cannot download {url} ({why}): put the file at {name} in a folder, and name that in {VARIABLE}"
        ) from reason
