"""The page as a screen reader has it: Chromium's accessibility tree, line by line."""

from __future__ import annotations

from typing import Any, NamedTuple

from playwright.sync_api import Page

__all__ = ["CONTROLS", "Heard", "heard"]

#: roles that somebody uses
CONTROLS = {
    *("button", "checkbox", "combobox", "gridcell", "link", "listbox", "option", "radio"),
    *("searchbox", "slider", "spinbutton", "textbox", "grid", "application", "radiogroup"),
    *("toolbar", "DisclosureTriangle", "progressbar"),
}


class Heard(NamedTuple):
    """One node that is told.

    Attributes
    ----------
    depth : int
    role, name, value, description : str
    states : dict
    """

    depth: int
    role: str
    name: str
    value: str
    description: str
    states: dict[str, Any]

    def __str__(self) -> str:
        more = [f"= {self.value}"] if self.value else []
        more += [f"({self.description})"] if self.description else []
        more += [f"[{k}]" for k, v in self.states.items() if v in (True, "true", "mixed")]
        return "  " * self.depth + " ".join([self.role, repr(self.name), *more])


def heard(page: Page) -> list[Heard]:
    """Return what is told of a page, in its order."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    by_id = {node["nodeId"]: node for node in nodes}

    def text(node: dict[str, Any], key: str) -> str:
        return str(node.get(key, {}).get("value", "") or "").strip()

    found: list[Heard] = []

    def walk(node: dict[str, Any], depth: int) -> None:
        role = text(node, "role")
        told = not node.get("ignored") and role not in ("generic", "none", "InlineTextBox")
        if told and (role != "StaticText" or text(node, "name")):
            states = {p["name"]: p["value"].get("value") for p in node.get("properties", [])}
            texts = [text(node, key) for key in ("name", "value", "description")]
            found.append(Heard(depth, role, *texts, states))
        for child in node.get("childIds", []):
            if child in by_id:
                walk(by_id[child], depth + told)

    walk(nodes[0], 0)
    return found
