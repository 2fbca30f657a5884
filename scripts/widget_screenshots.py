"""Photograph every widget in light and dark: `python -m scripts.widget_screenshots [FOLDER]`.

Uses the pocket model; pictures of the Explorer are taken wide and narrow. They are for looking at.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from scripts.browser import find_browser

CONCEPT, SCENES = "car", 12
WIDTHS = {"Explorer": (1240, 660)}


def widgets() -> dict[str, Any]:
    """Return one of each widget, on a study of the pocket model."""
    import mmkn_widgets as mmkn
    from mmkn_widgets import widgets as parts

    model = mmkn.load_model("pocket")
    scenes = mmkn.datasets.pocket_world("val").with_concept(CONCEPT, SCENES)
    study = mmkn.study(model, CONCEPT, scenes)
    explorer = mmkn.Explorer(study)
    explorer.ablate()
    for name, args in (("evaluate", {}), ("tokens", {"id": explorer.selected})):
        explorer._receive(explorer, {"kind": "request", "id": name, "name": name, "args": args}, [])
    explorer.wait(600)
    image, inpainted = study.pictures(0)
    best = explorer.kept
    width = study.evidence["difference"].shape[1]
    tokens, values = study.tokens(0, int(best[0]) // width, int(best[0]) % width)
    forms = explorer.concept_forms
    return {
        "Explorer": explorer,
        "PatchHeatmap": parts.PatchHeatmap(
            image, study.maps(best // width, best % width, scene=0), inpainted=inpainted
        ),
        "ThresholdPlane": parts.ThresholdPlane(study),
        "NeuronTable": parts.NeuronTable(study, concept_forms=forms),
        "TokenStrip": parts.TokenStrip(tokens, values, "activation of the best neuron"),
        "CaptionDiff": parts.CaptionDiff(
            explorer.caption_before,
            explorer.caption_after,
            references=explorer.references,
            concept=CONCEPT,
            concept_forms=forms,
        ),
        "MaskPainter": parts.MaskPainter(
            image, {item.category: item.mask for item in scenes[0].objects}
        ),
        "AblationPanel": parts.AblationPanel(study),
    }


def main(folder: Path) -> None:
    """Write one PNG per widget, width and theme."""
    from mmkn_widgets.widgets._html import offline_page

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"]
        )
        for name, widget in widgets().items():
            page_file = Path(made) / f"{name}.html"
            page_file.write_text(offline_page(widget), encoding="utf-8")
            for width in WIDTHS.get(name, (620,)):
                for scheme in ("light", "dark"):
                    page = browser.new_page(
                        viewport={"width": width, "height": 500},
                        color_scheme=scheme,  # type: ignore[arg-type]
                        device_scale_factor=1.5,
                    )
                    page.goto(page_file.as_uri())
                    page.wait_for_timeout(800)
                    target = folder / f"{name}_{width}_{scheme}.png"
                    page.screenshot(path=target, full_page=True)
                    print(target)
                    page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots"))
