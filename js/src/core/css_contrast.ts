// High-contrast themes of the system (forced colours): its own colours, and what is drawn by a background keeps it.

export const CONTRAST = `
@media (forced-colors: active) {
.mmkn { --bg: Canvas; --bg-2: Canvas; --text: CanvasText; --soft: CanvasText; --line: CanvasText; --line-2: CanvasText; --accent: Highlight;
  --on-accent: HighlightText; --tint: Canvas; --gone: CanvasText; --new: LinkText; --warn: LinkText; --track: Canvas; --cloud: CanvasText; }
.mmkn :is(input[type="range"], .btn.primary, .bar, .bar > *, .legend i, .layers i, .corner, .dot, .key, .stack, .stack i, .tokens span, .tokens canvas) { forced-color-adjust: none; }
.mmkn :is(.bar, .layers i.track, .stack) { outline: 1px solid CanvasText; }
.mmkn :is(.btn, .choose)[aria-pressed="true"], .mmkn [aria-selected="true"], .mmkn .segments button[aria-checked="true"] { outline: 3px solid Highlight; outline-offset: -3px; }
.mmkn .btn.primary { border: 2px solid Highlight; }
.mmkn .strip button[aria-selected="true"] { outline-offset: 1px; }
}
`;
