"""How long `import mmkn_widgets` takes over a bare interpreter, and what it must not import."""

from __future__ import annotations

import subprocess
import sys

from .profile import of_imports
from .report import Row, milliseconds

CODE = "import mmkn_widgets, sys; assert not {'torch', 'xarray'} & set(sys.modules)"


def measure() -> list[Row]:
    def run(code: str) -> float:
        return milliseconds(lambda: subprocess.run([sys.executable, "-c", code], check=True), 7)

    bare = run("pass")
    name, took = "import mmkn_widgets over a bare interpreter", run(CODE) - bare
    return [Row(name, took, "ms", 300.0, "", lambda: of_imports(CODE))]
