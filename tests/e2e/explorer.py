"""The Explorer as a person uses it: what one sees of it on a page, and the moves of the hand."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page

from .notebook import drag

__all__ = ["ExplorerOnPage"]


class ExplorerOnPage:
    """An Explorer that is drawn on a page.

    Parameters
    ----------
    page : Page
        Where it is.
    within : Locator, optional
        Where to look for it; by default the whole page.
    name : str
        The widget's name for screen readers.
    """

    def __init__(
        self,
        page: Page,
        within: Locator | None = None,
        name: str = "Explorer of concept neurons",
    ) -> None:
        self.page = page
        self.root = (within or page.locator("body")).get_by_role("region", name=name)
        self.root.wait_for()

    def slider(self, name: str) -> Locator:
        """Return the slider of ``"difference"`` or ``"GradCAM"``."""
        return self.root.get_by_role("slider", name=f"{name} threshold", exact=True)

    def drag_slider(self, name: str, by: float) -> None:
        """Drag a slider's thumb by a share of its track."""
        slider = self.slider(name)
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        assert box is not None
        at = float(slider.input_value()) / float(slider.get_attribute("max") or 1)
        thumb = 16  # its centre stays half a thumb inside the track
        x = box["x"] + thumb / 2 + at * (box["width"] - thumb)
        y = box["y"] + box["height"] / 2
        drag(self.page, (x, y), (x + by * box["width"], y))

    @property
    def ablate(self) -> Locator:
        """The button that ablates what is kept."""
        return self.root.get_by_role("button", name=re.compile(r"^Ablate( [\d,]+ neurons?)?$"))

    def button(self, name: str) -> Locator:
        """Return a button by its exact name."""
        return self.root.get_by_role("button", name=name, exact=True)

    def settings(self) -> Locator:
        """Open what is set once and rarely touched again; return it."""
        panel = self.root.get_by_role("group", name="settings", exact=True)
        if not panel.is_visible():
            self.root.locator("summary", has_text="settings").click()
            panel.wait_for()
        return panel

    @property
    def caption_after(self) -> Locator:
        """The caption after, with what changed marked."""
        return self.root.locator(".captions dd").nth(1)
