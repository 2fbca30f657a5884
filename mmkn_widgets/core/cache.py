"""Where the package keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder(name: str) -> Path:
    """Return a folder below ``MMKN_CACHE_DIR``, else below the user's cache folder.

    The system says where that is: ``~/.cache`` (or ``$XDG_CACHE_HOME``) on Linux,
    ``~/Library/Caches`` on macOS, ``%LOCALAPPDATA%`` on Windows.

    Parameters
    ----------
    name : str
        Of the folder, which need not be there.
    """
    from platformdirs import user_cache_path

    given = os.environ.get("MMKN_CACHE_DIR")
    base = Path(given).expanduser() if given else user_cache_path("mmkn_widgets", appauthor=False)
    return base / name
