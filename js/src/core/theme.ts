// Which theme the page has, our style sheet, and resolved colours for canvases.

import CSS from "../style.css";

/** "light", "dark", or undefined: the page does not say, the system decides. */
export function pageTheme(doc: Document = document): "light" | "dark" | undefined {
  const { body, documentElement: html } = doc;
  const jupyter = body.dataset["jpThemeLight"];
  if (jupyter !== undefined) return jupyter === "false" ? "dark" : "light";
  const code = body.dataset["vscodeThemeKind"] ?? "";
  if (/dark|^vscode-high-contrast$/.test(code)) return "dark";
  if (/light/.test(code)) return "light";
  for (const el of [body, html]) {
    const said = `${el.className} ${el.dataset["theme"] ?? ""} ${el.getAttribute("theme") ?? ""}`;
    if (/(^|[\s-])dark(?![-\w])/.test(said)) return "dark";
    if (/(^|[\s-])light(?![-\w])/.test(said)) return "light";
  }
  return undefined;
}

function highContrast(doc: Document): boolean {
  const said = `${doc.body.dataset["jpThemeName"] ?? ""} ${doc.body.dataset["vscodeThemeKind"] ?? ""}`;
  return (
    /contrast/i.test(said) || (globalThis.matchMedia?.("(prefers-contrast: more)").matches ?? false)
  );
}

/** Style `root` after the page's theme, and call `repaint` whenever that changes. */
export function applyTheme(root: HTMLElement, signal: AbortSignal, repaint: () => void): void {
  const style = document.createElement("style");
  style.textContent = CSS;
  root.append(style);
  const update = (): void => {
    const theme = pageTheme();
    if (theme) root.dataset["theme"] = theme;
    else delete root.dataset["theme"];
    root.classList.toggle("contrast", highContrast(document));
    repaint();
  };
  update();
  const observer = new MutationObserver(update);
  const filter = {
    attributes: true,
    attributeFilter: [
      "class",
      "style",
      "theme",
      "data-theme",
      "data-jp-theme-light",
      "data-jp-theme-name",
      "data-vscode-theme-kind",
    ],
  };
  observer.observe(document.body, filter);
  observer.observe(document.documentElement, filter);
  signal.addEventListener("abort", () => observer.disconnect());
  for (const query of [
    "(prefers-color-scheme: dark)",
    "(prefers-contrast: more)",
    "(forced-colors: active)",
  ]) {
    globalThis.matchMedia?.(query).addEventListener("change", update, { signal });
  }
}

const COLOR_NAMES = [
  "bg",
  "text",
  "soft",
  "line",
  "line-2",
  "accent",
  "tint",
  "track",
  "cloud",
  "new",
  "gone",
  "warn",
] as const;
export type ColorName = (typeof COLOR_NAMES)[number];

/** Resolve theme variables to colours a canvas understands. */
export function colors(root: HTMLElement): Record<ColorName, string> {
  const probe = document.createElement("span");
  probe.style.cssText = "display: none; forced-color-adjust: none";
  root.append(probe);
  const out = {} as Record<ColorName, string>;
  for (const name of COLOR_NAMES) {
    probe.style.color = `var(--${name})`;
    out[name] = getComputedStyle(probe).color || "#888";
  }
  probe.remove();
  return out;
}

/** Size a canvas to its box in device pixels; returns the CSS size and the ratio. */
export function fit(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
): { ctx: CanvasRenderingContext2D; ratio: number } {
  const ratio = Math.min(globalThis.devicePixelRatio || 1, 3);
  const w = Math.max(1, Math.round(width * ratio));
  const hh = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== w) canvas.width = w;
  if (canvas.height !== hh) canvas.height = hh;
  const ctx = canvas.getContext("2d")!;
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { ctx, ratio };
}
