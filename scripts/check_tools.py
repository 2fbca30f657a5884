"""Say in one sentence what is missing before `make` starts its work."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

PYTHON = (3, 11)
NODE = 20


def complaint() -> str | None:
    """Return the sentence to show, or None when everything needed is there."""
    if sys.version_info < PYTHON:
        return (
            f"Python {PYTHON[0]}.{PYTHON[1]} or newer is needed, {sys.executable} is "
            f"{sys.version.split()[0]}: try `make PYTHON=python3.11`."
        )
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return (
            f"Node.js {NODE} or newer with npm is needed to build the widgets, and none is on the "
            "PATH. (A wheel of mmkn_widgets needs no Node.js.)"
        )
    said = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    found = re.match(r"v(\d+)\.", said)
    if found is None or int(found[1]) < NODE:
        return (
            f"Node.js {NODE} or newer is needed to build the widgets, {node} is {said or 'broken'}."
        )
    return None


if __name__ == "__main__":
    sentence = complaint()
    if sentence is not None:
        sys.exit(sentence)
