"""What must work in any installation that the metadata allow; ``python scripts/smoke.py``.

Prints what it runs on and one line a step, and ends at the first that fails. Nothing of it needs a
network, a browser or the repository: it is run with the installed package.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")


def said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout


def importing() -> str:
    """Importing needs neither JupyterLab nor torch."""
    heavy = "('torch', 'transformers', 'jupyterlab', 'xarray', 'bqplot', 'matplotlib')"
    code = f"import sys, mmkn_widgets; print([m for m in {heavy} if m in sys.modules])"
    assert said([sys.executable, "-c", code]).strip() == "[]"
    hidden = (
        "import sys; sys.modules['jupyterlab'] = None; import mmkn_widgets as m;"
        "m.Explorer; m.load_model('pocket'); print('fine')"
    )
    assert said([sys.executable, "-c", hidden]).strip() == "fine"
    return "light, and without JupyterLab"


def find() -> str:
    command = [sys.executable, "-m", "mmkn_widgets.cli", "find", "--concept", "car", "--json"]
    found = json.loads(said(command))
    assert found["suppression"] > 0.9 > 0.1 > found["random_control"]["max"], found["suppression"]
    assert found["retention"]["other"] > 0.9
    return f"suppression {found['suppression']:.3f} with {len(found['neurons'])} neurons"


def study() -> str:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mmkn_widgets.cli", "study", "--concepts", "car", "cup",
                   "--methods", "two_stage,contribution", "--scenes", "4", "--n-random", "1",
                   "--bertscore", "none", "--out", folder, "--json"]  # fmt: skip
        result = json.loads(said(command))
        assert result["concepts"] == ["car", "cup"]
        files = {path.name for path in Path(folder).iterdir()}
        assert {"table.md", "table.csv", "methods.png"} <= files, files
    return ", ".join(result["methods"])


def explorer() -> str:
    """The Explorer's wire: traits, one request of the page answered, and the offline page."""
    import numpy as np

    import mmkn_widgets as mmkn

    model = mmkn.load_model("pocket")
    scenes = mmkn.datasets.pocket_world("val").with_concept("car", 2)
    explorer = mmkn.Explorer(mmkn.study(model, "car", scenes))
    state = explorer.get_state()
    assert len(bytes(state["difference"])) == 4 * len(model.sites) * model.n_neurons
    before = explorer.caption_before
    neurons = explorer.neurons
    assert "car" in before and len(neurons) > 10
    with model.ablate(neurons):
        assert "car" not in model.caption(scenes[0].image)
    assert model.caption(scenes[0].image) == before
    with tempfile.TemporaryDirectory() as folder:
        page = explorer.save_html(Path(folder) / "car.html").read_text(encoding="utf-8")
    assert "mmkn-state" in page and "https://" not in page.replace("https://www.w3", "")
    store = mmkn.capture(model, [scenes[0].image])
    assert np.isfinite(np.asarray(store["activation"], dtype=np.float32)).any()
    return f"{len(page) / 1e3:.0f} kB of page"


def figures() -> str:
    from mmkn_widgets import evaluation

    text = ["a red car on the road"]
    assert evaluation.bleu(text, [text]) == 1
    assert evaluation.rouge_l(text, [text]) == 1
    return "BLEU, ROUGE"


def main() -> None:
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in importlib.metadata.requires("mmkn_widgets") or ()]
    names = sorted(one.name for one in wanted if one.marker is None)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    print(f"Python {sys.version.split()[0]}: {versions}")
    for step in (importing, find, study, explorer, figures):
        start = time.perf_counter()
        print(f"{step.__name__:<10} {step()} ({time.perf_counter() - start:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
