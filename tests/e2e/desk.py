"""What a page says of an Explorer: what is on screen, what is cut, what scrolls besides."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator

__all__ = ["DESK", "cut", "hidden_parts", "second_scroll_bars", "to_the_top"]

#: what a tuner needs at once: selectors within the Explorer
DESK = {
    "concept": ".a-top input",
    "export": ".a-top details.menu",
    "picture": ".a-picture .stage",
    "colour bar": ".a-picture .legend",
    "which map": ".a-picture .reads",
    "plane": ".a-plane .plane",
    "difference slider": 'input[aria-label="difference threshold"]',
    "GradCAM slider": 'input[aria-label="GradCAM threshold"]',
    "count": ".a-plane .head",
    "Ablate": ".a-act .btn.primary",
    "undo": ".a-act .yields",
    "caption before": ".captions dd:nth-of-type(1)",
    "caption after": ".captions dd:nth-of-type(2)",
}

_TO_THE_TOP = """(root) => {
    let box = root.parentElement;
    const scrolls = (el) => el.scrollHeight > el.clientHeight + 30
        && /auto|scroll/.test(getComputedStyle(el).overflowY);
    while (box && !scrolls(box)) box = box.parentElement;
    box ??= document.scrollingElement;
    const top = box === document.scrollingElement ? 0 : box.getBoundingClientRect().top;
    box.scrollTop += root.getBoundingClientRect().top - top - 2;
}"""

# What every ancestor that clips leaves of the window is what one sees.
_HIDDEN = """(root, parts) => {
    let [left, top, right, bottom] = [0, 0, innerWidth, innerHeight];
    for (let el = root.parentElement; el && el !== document.body; el = el.parentElement) {
        if (getComputedStyle(el).overflow === "visible") continue;
        const box = el.getBoundingClientRect();
        [left, top] = [Math.max(left, box.left), Math.max(top, box.top)];
        [right, bottom] = [Math.min(right, box.right), Math.min(bottom, box.bottom)];
    }
    return Object.entries(parts).flatMap(([name, selector]) => {
        const el = root.querySelector(selector);
        if (!el) return [`${name}: not there`];
        const box = el.getBoundingClientRect();
        const inside = box.width > 0 && box.left >= left - 1 && box.right <= right + 1
            && box.top >= top - 1 && box.bottom <= bottom + 1;
        const say = (r) => [r.left, r.top, r.right, r.bottom].map(Math.round).join(" ");
        return inside ? [] : [`${name}: ${say(box)} of ${say({ left, top, right, bottom })}`];
    });
}"""

# Rows of the table show as many words as fit, and thumbnails scroll: both say so by their shape.
_CUT = """(root) => [...root.querySelectorAll("*")].flatMap((el) => {
    if (el.closest("[hidden], .sr, .trow, .tiles, option, datalist")) return [];
    if (el.closest(".jumps:not(:focus-within)")) return []; // is there for whoever comes by key
    const box = el.getBoundingClientRect();
    if (!box.width || !el.clientWidth || getComputedStyle(el).display === "inline") return [];
    const out = box.right > root.getBoundingClientRect().right + 1;
    return out || el.scrollWidth > el.clientWidth + 1
        ? [`${el.tagName}.${el.className}: ${el.scrollWidth} in ${el.clientWidth}: `
            + (el.textContent || "").slice(0, 60)] : [];
})"""

_SCROLLS = """(root) => {
    const found = [];
    for (let el = root.parentElement; el; el = el.parentElement) {
        const style = getComputedStyle(el);
        const down = /auto|scroll/.test(style.overflowY) && el.scrollHeight > el.clientHeight;
        const along = /auto|scroll/.test(style.overflowX) && el.scrollWidth > el.clientWidth;
        if (along || (down && el.classList.contains("jp-OutputArea-output")) ||
            (down && el.closest(".jp-Cell")))
            found.push(`${el.className}: ${el.scrollHeight} in ${el.clientHeight}`);
    }
    return found;
}"""


def to_the_top(root: Locator) -> None:
    """Scroll until the widget begins at the top of what scrolls."""
    root.evaluate(_TO_THE_TOP)
    root.page.wait_for_timeout(300)


def hidden_parts(root: Locator, parts: dict[str, str] = DESK) -> list[str]:
    """Return the parts that are not wholly on screen, each with where it is."""
    found: list[Any] = root.evaluate(_HIDDEN, parts)
    return found


def cut(root: Locator) -> list[str]:
    """Return the elements whose content is wider than they are."""
    found: list[Any] = root.evaluate(_CUT)
    return found


def second_scroll_bars(root: Locator) -> list[str]:
    """Return what scrolls between the widget and the notebook."""
    found: list[Any] = root.evaluate(_SCROLLS)
    return found
