"""Examine every architecture, write ``results.json``; arguments name some of them alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(names: list[str]) -> int:
    """Examine the named architectures (all by default); keep the others' last results."""
    sys.path.insert(0, str(HERE))
    import torch
    from roundtrip import examine
    from tiny_models import ARCHITECTURES, without_timm

    torch.set_num_threads(1)
    path = HERE / "results.json"
    known = (
        {row["architecture"]: row for row in json.loads(path.read_text())} if path.exists() else {}
    )
    for name in names or ARCHITECTURES:
        if without_timm(name) and name in known:
            print(f"{name}: kept as it was, timm is not here", flush=True)
            continue
        result = examine(name)
        known[name] = result.to_dict()
        done = "works" if result.works else f"fails ({result.reason or result.checks})"
        print(f"{name}: {done}; {'paints' if result.paints else result.paint_reason}", flush=True)
    rows = [known[name] for name in ARCHITECTURES if name in known]
    path.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
