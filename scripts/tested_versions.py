"""Write constraints/tested.txt: the versions in this environment, but for torch and ourselves.

Run after an upgrade whose `make test` passed.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from packaging.specifiers import SpecifierSet

OURS = {"mmkn-widgets", "mmkn_widgets"}
#: torch comes as the machine needs it; these belong to its builds or to pip itself
LEFT_OUT = ("torch", "nvidia-", "cuda-", "triton", "pip", "setuptools", "wheel")
HEADER = """\
# The versions that `make test` last passed with; written by scripts/tested_versions.py.
# `make` holds pip to them, a plain `pip install` does not.
"""
#: the oldest Python that we promise
OLDEST = "3.11.0"


def marker(requires: str | None) -> str:
    """Return the condition under which a pin holds: the package may refuse an older Python.

    Examples
    --------
    >>> marker(">=3.11.5")
    '; python_full_version >= "3.11.5"'
    >>> marker(">=3.8")
    ''
    """
    wanted = SpecifierSet(requires or "")
    if OLDEST in wanted:
        return ""
    parts = sorted(f'python_full_version {part.operator} "{part.version}"' for part in wanted)
    return "; " + " and ".join(parts)


def lines() -> list[str]:
    found = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        key = name.lower().replace("_", "-")
        if key in OURS or key.startswith(LEFT_OUT):
            continue
        pin = f"{key}=={distribution.version.split('+')[0]}"
        found[key] = pin + marker(distribution.metadata["Requires-Python"])
    return [found[key] for key in sorted(found)]


if __name__ == "__main__":
    target = Path(__file__).resolve().parents[1] / "constraints" / "tested.txt"
    target.write_text(HEADER + "\n".join(lines()) + "\n", encoding="utf-8")
