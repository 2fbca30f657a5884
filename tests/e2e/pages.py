"""Every widget as a saved offline page, for what needs a browser and no notebook."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"
sys.path.insert(0, str(ROOT / "tests" / "wire"))

__all__ = ["EVIL", "ROOT", "WIDGETS", "evil_study", "opened", "violations", "write_pages"]

#: what data may bring: it must appear as these letters
EVIL = '<img src=x onerror="window.hit=1"><script>window.hit=2</script>&amp;`${1}\''


def _explorer() -> Any:
    """Return an Explorer with an ablation, figures and marks in it."""
    from fake_study import FakeStudy

    from mmkn_widgets.widgets import Explorer

    made = Explorer(FakeStudy())
    made.ablate()
    for name in ("evaluate", "propose"):
        made._receive(made, {"kind": "request", "id": name, "name": name}, [])
    made.wait()
    return made


def _pair() -> Any:
    from fake_study import FakeStudy

    from mmkn_widgets.widgets import compare

    one, two = FakeStudy("car"), FakeStudy("bus", seed=2)
    two.model = one.model
    for name in ("difference", "gradcam"):
        two.evidence[name].values[:, ::2] = one.evidence[name].values[:, ::2]
    made = compare(one, two)
    made.ablate("a")
    made._receive(made, {"kind": "request", "id": "measure", "name": "evaluate"}, [])
    made.wait()
    return made


def _store() -> Any:
    import mmkn_widgets as mmkn

    images = [scene.image for scene in mmkn.datasets.pocket_world("val", 3)]
    return mmkn.capture(mmkn.load_model("pocket"), images, generate=True).mmkn.explore(images)


def _part(make: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    def made() -> Any:
        from fake_study import FakeStudy

        from mmkn_widgets import widgets

        return make(widgets, FakeStudy())

    return made


WIDGETS: dict[str, Callable[[], Any]] = {
    "Explorer": _explorer,
    "ConceptPair": _pair,
    "StoreExplorer": _store,
    "ThresholdPlane": _part(lambda w, study: w.ThresholdPlane(study)),
    "NeuronTable": _part(lambda w, study: w.NeuronTable(study, concept_forms=["car"])),
    "PatchHeatmap": _part(
        lambda w, study: w.PatchHeatmap(
            study.pictures(0)[0],
            study.maps([5] * 8, range(8), scene=0),
            inpainted=study.pictures(0)[1],
        )
    ),
    "TokenStrip": _part(lambda w, study: w.TokenStrip(*study.tokens(0, 1, 2), "activation")),
    "CaptionDiff": _part(
        lambda w, study: w.CaptionDiff(
            study.caption(0), study.caption(0).replace("car", "bus"), concept="car"
        )
    ),
    "MaskPainter": _part(
        lambda w, study: w.MaskPainter(study.pictures(0)[0], {"car": study.scenes[0].mask("car")})
    ),
    "AblationPanel": _part(lambda w, study: w.AblationPanel(study)),
}


def evil_study(word: str, seed: int = 0, evil: str = EVIL) -> Any:
    """Return a study whose every text from data tries to be HTML."""
    from fake_study import FakeStudy

    from mmkn_widgets.datasets import ObjectInstance, Scene

    study = FakeStudy(word, seed=seed)
    study.caption = lambda scene: f"a {word} {evil}"  # type: ignore[method-assign]
    study.words = lambda rows, indices, k=6: [[evil, word]] * len(rows)  # type: ignore
    study.tokens = lambda scene, row, index: (  # type: ignore
        [(evil, "text", -1)] * 2,
        np.ones((*np.shape(row), 2), np.float32),
    )
    study.patch_words = lambda scene, k=3: [[evil]] * 144  # type: ignore[method-assign]
    study.model.name = f"model {evil}"
    study.scenes = tuple(
        Scene(
            f"{evil}-{k}.png",
            scene.image,
            [evil, f"{evil} again"],
            [ObjectInstance(evil, scene.mask(word), (0, 0, 1, 1))],
            source="drawn",
            categories=[evil, word],
        )
        for k, scene in enumerate(study.scenes)
    )
    return study


def write_pages(folder: Path) -> dict[str, Path]:
    """Write one offline page of every widget."""
    found = {}
    for name, make in WIDGETS.items():
        widget = make()
        found[name] = widget.save_html(folder / f"{name}.html")
        widget.close()
    return found


def opened(page: Page, path: Path) -> list[str]:
    """Open a page; return what it asks of a network and what fails in it, as it happens."""
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: trouble.append(r.url) if r.url.startswith("http") else None)
    page.context.set_offline(True)
    page.goto(path.as_uri())
    expect(page.locator(".mmkn .card")).to_be_visible()
    page.wait_for_timeout(150)
    return trouble


#: WCAG 2.2 at level A and AA; target-size is off in axe-core unless it is asked for
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")


def violations(page: Page, within: str = "document", *, best: bool = False) -> list[Any]:
    """Return what axe-core finds against WCAG 2.2, of any impact.

    Parameters
    ----------
    page : Page
    within : str
        JavaScript: what to look at.
    best : bool
        Best practice as well: for a whole page of ours.
    """
    options = {
        "runOnly": {"type": "tag", "values": [*TAGS, *(["best-practice"] if best else [])]},
        "rules": {"target-size": {"enabled": True}},
    }
    found: list[Any] = page.evaluate(
        f"async () => {{ {AXE.read_text(encoding='utf-8')}; "
        f"return (await axe.run({within}, {json.dumps(options)})).violations.map((v) => "
        "[v.impact, v.id, v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160))]); }"
    )
    return found
