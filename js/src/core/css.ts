// The style of every widget. Colours: the notebook's theme variables, else VS Code's, else our own for light and dark.

import { CONTRAST } from "./css_contrast";

const TOKENS = `
.mmkn {
  color-scheme: light dark;
  --bg: var(--jp-layout-color1, var(--vscode-editor-background, light-dark(#ffffff, #171a21)));
  --bg-2: light-dark(color-mix(in srgb, var(--bg) 95%, #1c3560), color-mix(in srgb, var(--bg) 93%, #b9cdf5));
  --text: var(--jp-ui-font-color1, var(--vscode-foreground, light-dark(#1b2230, #e8ebf1)));
  --soft: light-dark(#5a6475, #a0a9b8);
  --line: light-dark(#dfe3ea, #2f3642);
  --line-2: light-dark(#7f8a9b, #707b8d);
  --accent: light-dark(#2b5ccc, #82a8ff);
  --on-accent: light-dark(#ffffff, #0e1a33);
  --tint: light-dark(#e4edfc, #22304f);
  --gone: light-dark(#b3261e, #ff9d92);
  --new: light-dark(#17733f, #6fd39b);
  --warn: light-dark(#8f5300, #f0b64f);
  --track: light-dark(#eef1f5, #242a34);
  --cloud: light-dark(#4a5568, #b4bfd0);
  --radius: 6px;
  --font: var(--jp-ui-font-family, var(--vscode-font-family, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif));
  --mono: var(--jp-code-font-family, var(--vscode-editor-font-family, ui-monospace, SFMono-Regular, Menlo, monospace));
}
.mmkn[data-theme="light"] { color-scheme: light; }
.mmkn[data-theme="dark"] { color-scheme: dark; }
.mmkn.contrast { --line: var(--line-2); --soft: var(--text); --cloud: var(--text); }
`;

const BASE = `
.mmkn { container-type: inline-size; position: relative; font: 13px/1.45 var(--font); color: var(--text);
  text-align: start; min-width: 280px; font-variant-numeric: tabular-nums; }
.mmkn *, .mmkn *::before, .mmkn *::after { box-sizing: border-box; }
.mmkn .card { background: var(--bg); border: 1px solid var(--line); border-radius: 10px; overflow: clip; }
.mmkn .sr { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.mmkn [hidden] { display: none !important; }
.mmkn input[type="number"] { appearance: textfield; -moz-appearance: textfield; }
.mmkn input[type="number"]::-webkit-inner-spin-button { display: none; }
.mmkn .part.line { flex-direction: row; flex-wrap: wrap; align-items: center; }
.mmkn .part { display: flex; flex-direction: column; gap: 8px; padding: 12px 14px; min-width: 0; background: var(--bg); }
.mmkn h3 { all: unset; display: block; font-weight: 600; }
.mmkn .head { display: flex; gap: 8px; align-items: baseline; min-width: 0; min-height: 20px; }
.mmkn .head > h3 { flex: none; white-space: nowrap; }
.mmkn .head > .note { flex: 1 1 0; min-width: 0; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.mmkn .hold { display: block; min-width: 0; }
.mmkn .head > .hold { flex: 1 1 0; align-self: center; }
.mmkn .steady { display: block; contain: strict; height: 18px; line-height: 18px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.mmkn .head > :is(.note, .hold) ~ .grow { display: none; }
.mmkn .head > :not(h3, .note) { flex-shrink: 0; }
.mmkn .head > .grow { flex-shrink: 1; }
.mmkn .head:has(> .segments, > input, > .btn) { align-items: center; min-height: 28px; }
.mmkn .note { color: var(--soft); font-size: 12px; overflow-wrap: anywhere; }
.mmkn .row { display: flex; gap: 8px; align-items: center; flex-wrap: wrap; }
.mmkn .grow { flex: 1 1 auto; }
.mmkn .mono { font-family: var(--mono); font-size: 12px; }
.mmkn button, .mmkn input, .mmkn select { font: inherit; color: inherit; }
.mmkn .btn, .mmkn select, .mmkn input[type="number"], .mmkn input[type="text"], .mmkn input[type="search"] {
  background: var(--bg); border: 1px solid var(--line); border-radius: var(--radius); padding: 3px 9px; min-height: 28px;
  margin: 0; box-shadow: none; height: auto; line-height: 1.4; }
.mmkn .btn { cursor: pointer; white-space: nowrap; }
.mmkn .btn:hover:not(:disabled), .mmkn select:hover:not(:disabled) { border-color: var(--line-2); }
.mmkn .btn:active:not(:disabled) { background: var(--tint); }
.mmkn .btn.primary { background: var(--accent); border-color: var(--accent); color: var(--on-accent); font-weight: 600; }
.mmkn .btn.quiet { border-color: transparent; background: none; color: var(--soft); padding: 3px 6px; }
.mmkn .btn[aria-pressed="true"] { background: var(--tint); color: var(--accent); font-weight: 600; }
.mmkn :disabled { opacity: .5; cursor: not-allowed; }
.mmkn :is(button, input, select, canvas, [tabindex], summary):focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.mmkn .segments button[hidden] { display: none; }
.mmkn .segments { display: inline-flex; flex-wrap: wrap; max-width: 100%; border: 1px solid var(--line); border-radius: var(--radius); background: var(--bg); }
.mmkn .segments button { all: unset; padding: 3px 9px; cursor: pointer; line-height: 20px; white-space: nowrap; }
.mmkn .segments.wide { display: flex; }
.mmkn .segments.wide button { flex: 1 1 auto; text-align: center; padding-inline: 4px; font-size: 12px; }
.mmkn .segments button:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; border-radius: 4px; }
.mmkn .segments button + button { border-inline-start: 1px solid var(--line); }
.mmkn .segments button[aria-checked="true"] { background: var(--tint); color: var(--accent); font-weight: 600; }
.mmkn .segments button:disabled { opacity: .45; cursor: not-allowed; }
.mmkn label { display: inline-flex; gap: 6px; align-items: center; }
.mmkn input[type="checkbox"] { accent-color: var(--accent); width: 14px; height: 14px; margin: 0; }
.mmkn input[type="range"] { appearance: none; -webkit-appearance: none; background: none; height: 20px; margin: 0; min-width: 60px;
  flex: 1 1 90px; cursor: pointer; --fill: 50%; contain: layout size; }
.mmkn input[type="range"]::-webkit-slider-runnable-track { height: 4px; border-radius: 2px;
  background: linear-gradient(to right, var(--accent) var(--fill), var(--line) var(--fill)); }
.mmkn input[type="range"]::-moz-range-track { height: 4px; border-radius: 2px;
  background: linear-gradient(to right, var(--accent) var(--fill), var(--line) var(--fill)); }
.mmkn input[type="range"]::-webkit-slider-thumb { -webkit-appearance: none; width: 14px; height: 14px; margin-top: -5px;
  border-radius: 50%; background: var(--accent); border: 2px solid var(--bg); box-shadow: 0 0 0 1px var(--accent); }
.mmkn input[type="range"]::-moz-range-thumb { width: 11px; height: 11px; border-radius: 50%; background: var(--accent);
  border: 2px solid var(--bg); box-shadow: 0 0 0 1px var(--accent); }
.mmkn .bar { height: 4px; border-radius: 2px; background: var(--track); overflow: hidden; min-width: 80px; }
.mmkn .bar > i { display: block; height: 100%; width: 0; background: var(--accent); border-radius: 2px; }
.mmkn .alert { display: flex; gap: 10px; align-items: baseline; padding: 9px 14px; border-bottom: 1px solid var(--line);
  background: light-dark(#fdf0ee, #3a2320); }
.mmkn .alert strong { color: var(--gone); font-weight: 600; }
.mmkn .alert strong { white-space: nowrap; }
.mmkn .alert.info { background: var(--bg-2); }
.mmkn .alert.info strong { color: inherit; }
.mmkn .alert[hidden] { display: none; }
@media (prefers-reduced-motion: no-preference) {
  .mmkn .bar > i { transition: width .15s linear; }
  .mmkn .btn, .mmkn .segments button { transition: background-color .12s, border-color .12s; }
}
`;

const PARTS = `
.mmkn .stage { position: relative; border-radius: var(--radius); overflow: hidden; background: var(--track); aspect-ratio: 1;
  width: 100%; touch-action: none; }
.mmkn .stage canvas { position: absolute; inset: 0; width: 100%; height: 100%; display: block; border-radius: var(--radius); }
.mmkn .stage .empty { position: absolute; inset: 0; display: grid; place-items: center; padding: 20px; text-align: center; }
.mmkn .card:has(> .slim) { max-width: 560px; }
.mmkn .stage.drop { outline: 2px dashed var(--accent); outline-offset: 2px; }
.mmkn .stage .hint { position: absolute; inset: auto 8px 8px; padding: 4px 8px; border-radius: var(--radius); background: var(--bg); font-size: 12px; }
.mmkn .ghost { position: absolute; left: 0; top: 0; z-index: 1000; pointer-events: none; display: grid; gap: 2px; justify-items: start; }
.mmkn .ghost canvas { max-width: 160px; max-height: 160px; filter: drop-shadow(0 2px 5px rgb(0 0 0 / .4)); }
.mmkn .ghost span { background: var(--accent); color: var(--on-accent); border-radius: 4px; padding: 0 6px; font-size: 12px; font-weight: 600; }
.mmkn.carrying, .mmkn.carrying * { cursor: grabbing !important; user-select: none; }
.mmkn.carrying [data-takes] { outline: 1px dashed var(--line-2); outline-offset: 1px; border-radius: 4px; }
.mmkn .transplant { display: grid; gap: 4px; margin-top: 2px; }
.mmkn .transplant select { max-width: 106px; }
.mmkn .effect b { font-weight: 600; }
.mmkn .line > .effect { flex: 1 1 280px; }
.mmkn .shares { display: grid; grid-template-columns: auto minmax(60px, 1fr) auto auto auto; gap: 3px 10px; align-items: center; margin-top: 4px; }
.mmkn .shares .own { color: var(--accent); font-weight: 600; }
.mmkn .shares .num { text-align: right; }
.mmkn .shares .bar { height: 8px; min-width: 40px; }
.mmkn .shares i.less { background: var(--gone); }
.mmkn .legend { display: grid; grid-template-columns: 42px minmax(40px, 1fr) 42px minmax(0, max-content); gap: 6px; align-items: center; font-size: 12px;
  color: var(--soft); }
.mmkn .legend i { height: 8px; border-radius: 4px; }
.mmkn .legend > :first-child { text-align: right; }
.mmkn .legend > :last-child { min-width: 0; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.mmkn .stage .hover { pointer-events: none; opacity: .92; }
.mmkn .stage .hover.up { inset: 8px 8px auto; }
.mmkn .hover { min-height: 18px; max-width: 100%; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.mmkn .plane { position: relative; }
.mmkn .plane canvas { display: block; width: 100%; border-radius: 4px; touch-action: none; cursor: crosshair; }
.mmkn .plane .corner { position: absolute; width: 14px; height: 14px; margin: -7px 0 0 -7px; border-radius: 50%; background: var(--bg);
  border: 2.5px solid var(--accent); cursor: move; touch-action: none; left: 0; top: 0; will-change: transform; }
.mmkn .sliders { display: grid; grid-template-columns: auto minmax(40px, 1fr) 92px 66px; gap: 4px 10px; align-items: center; }

.mmkn .sliders input[type="number"] { width: 92px; text-align: right; }
.mmkn .layers { display: grid; gap: 2px; overflow: auto; max-height: 420px; flex: 1 1 auto; grid-auto-rows: minmax(22px, 34px); }
.mmkn .layers.dense { gap: 0; grid-auto-rows: minmax(13px, 22px); }
.mmkn .layers button { all: unset; display: grid; grid-template-columns: 34px 1fr 46px; gap: 8px; align-items: center; cursor: pointer;
  font-size: 12px; border-radius: 4px; }
.mmkn .layers.dense button { font-size: 10.5px; line-height: 13px; }
.mmkn .layers button:hover i.track { outline: 1px solid var(--line-2); }
.mmkn .layers button:focus-visible { outline: 2px solid var(--accent); outline-offset: -1px; }
.mmkn .layers button > span:first-child { text-align: right; color: var(--soft); }
.mmkn .layers i.track { display: block; background: var(--track); height: min(64%, 16px); border-radius: 2px; overflow: hidden; }
.mmkn .layers i.track > i { display: block; height: 100%; background: var(--accent); transform-origin: left; transform: scaleX(0); }
.mmkn .layers.dense .steady { height: 13px; line-height: 13px; }
.mmkn .layers button[aria-pressed="false"] { opacity: .5; text-decoration: line-through; }
.mmkn .table { position: relative; border: 0; min-height: 120px; flex: 1 1 auto; display: flex; flex-direction: column; }
.mmkn .thead, .mmkn .trow { display: grid; grid-template-columns: 20px minmax(64px, 1.1fr) 50px 54px minmax(80px, 5fr); gap: 8px;
  align-items: center; padding: 0 6px; }
.mmkn .trow > :first-child { display: flex; }
.mmkn .thead { border-bottom: 1px solid var(--line); min-height: 28px; color: var(--soft); font-size: 12px; }
.mmkn .thead button { all: unset; cursor: pointer; white-space: nowrap; }
.mmkn .thead button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 2px; }
.mmkn .thead [aria-sort="ascending"] button::after { content: " ↑"; } 
.mmkn .thead [aria-sort="descending"] button::after { content: " ↓"; }
.mmkn .thead .num, .mmkn .trow .num { text-align: right; }
.mmkn .scroll { overflow-y: auto; overflow-x: hidden; position: absolute; inset: 0; contain: strict; overscroll-behavior: contain; }
.mmkn .sheet .none { position: absolute; inset: 0 0 auto; padding: 24px 8px; text-align: center; }
.mmkn .sheet { flex: 1 1 300px; position: relative; }
.mmkn .scroll:focus-visible { outline-offset: -2px; }
.mmkn .trow { contain: strict; position: absolute; top: 0; left: 0; right: 0; height: 28px; border-bottom: 1px solid var(--line); cursor: default; }
.mmkn .trow[aria-selected="true"] { background: var(--tint); }
.mmkn .trow.unchecked > :not(:first-child) { opacity: .5; }
.mmkn .trow .words { overflow: hidden; white-space: nowrap; text-overflow: ellipsis; color: var(--soft); }
.mmkn .trow .words b { color: var(--text); }
.mmkn .page { display: grid; gap: 8px; }
.mmkn .table + .page { border-top: 1px solid var(--line); padding-top: 8px; }
.mmkn .page .strip { padding: 2px; }
.mmkn .page .writes b { color: var(--accent); }
.mmkn .page .found { display: flex; flex-wrap: wrap; gap: 8px 18px; }
.mmkn .page .found > :not(:empty) { flex: 1 1 260px; min-width: 0; }
.mmkn .page .found .strip { flex-wrap: wrap; }
.mmkn .captions { display: grid; grid-template-columns: auto 1fr; gap: 6px 12px; font-size: 14.5px; align-items: baseline; }
.mmkn dl.captions { padding: 0; max-width: none; width: auto; }
.mmkn .captions dt { color: var(--soft); font-size: 13px; font-weight: 400; margin: 0; }
.mmkn dl.captions :is(dt, dd) { float: none; width: auto; }
.mmkn .captions dd { margin: 0; padding: 0; max-width: none; overflow-wrap: anywhere; min-height: 22px; }
.mmkn .captions .word { all: unset; cursor: pointer; border-radius: 4px; padding: 0 1px; }
.mmkn .captions .word:hover { text-decoration: underline dotted; text-underline-offset: 3px; }
.mmkn .captions .word:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.mmkn .captions .word.concept { background: var(--tint); color: var(--accent); font-weight: 600; padding: 0 4px; }
.mmkn .captions [data-takes].drop { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; background: var(--tint); }
.mmkn .captions del { color: var(--gone); text-decoration: line-through; }
.mmkn .captions ins { color: var(--new); text-decoration: underline; text-underline-offset: 3px; text-decoration-thickness: 1.5px; }
.mmkn .captions .refs { color: var(--soft); }
.mmkn .effects { display: grid; gap: 6px; }
.mmkn .effects .row { flex-wrap: nowrap; }
.mmkn .row > label.grow { flex: 1 1 110px; width: 0; }
.mmkn .measures { display: grid; grid-template-columns: auto 1fr 44px; gap: 6px 12px; align-items: center; }
.mmkn .measures.stale { opacity: .45; }
.mmkn .measures .bar { position: relative; height: 6px; border-radius: 3px; overflow: visible; }
.mmkn .measures .bar > i { border-radius: 3px; }
.mmkn .measures .bar > b { position: absolute; top: -3px; bottom: -3px; width: 2px; margin-left: -1px; background: var(--line-2); border-radius: 1px; }
.mmkn .measures .num { text-align: right; }
.mmkn .strip { display: flex; gap: 6px; overflow-x: auto; padding: 3px; scrollbar-width: thin; }
.mmkn .strip .tiles { display: flex; gap: 6px; overflow-x: auto; padding: 3px; scrollbar-width: thin; min-width: 0; }
.mmkn .strip:has(.tiles) { padding: 0; overflow: visible; align-items: center; }
.mmkn .strip > .note { flex: none; align-self: center; margin-inline-end: 4px; }
.mmkn .strip button { all: unset; flex: none; width: 46px; height: 46px; border-radius: 5px; overflow: hidden; cursor: pointer; position: relative;
  background: var(--track); }
.mmkn .strip img { width: 100%; height: 100%; object-fit: cover; display: block; }
.mmkn .strip button[aria-selected="true"] { box-shadow: 0 0 0 2px var(--accent); }
.mmkn .strip button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.mmkn .strip .own button { width: auto; height: 44px; padding: 0 10px; border: 1px dashed var(--line-2); background: none; color: var(--soft);
  display: grid; place-items: center; font-size: 12px; white-space: nowrap; }
.mmkn .strip .own button:disabled { opacity: .5; cursor: not-allowed; }
.mmkn .strip .own button:hover:not(:disabled) { border-color: var(--accent); color: var(--accent); }
.mmkn .strip .dot { position: absolute; right: 3px; top: 3px; width: 9px; height: 9px; border-radius: 50%; border: 1.5px solid var(--bg); background: var(--accent); }
.mmkn .strip .dot.gone { background: var(--bg); border-color: var(--gone); }
.mmkn .tokens { display: flex; flex-wrap: wrap; gap: 2px; max-height: 108px; overflow: auto; font-family: var(--mono); font-size: 11.5px; }
.mmkn .tokens span { padding: 0 4px; border-radius: 3px; border-bottom: 2px solid transparent; white-space: pre; line-height: 18px; }
.mmkn .tokens span.generated { border-bottom-color: var(--accent); }
.mmkn .tokens span.special { color: var(--soft); }
.mmkn .tokens .image { display: inline-flex; padding: 0; gap: 0; border: 0; align-items: stretch; flex-wrap: wrap; }
.mmkn .tokens canvas { height: 18px; border-radius: 3px; }
.mmkn .chip { display: inline-flex; gap: 6px; align-items: center; border: 1px solid var(--warn); color: var(--warn); border-radius: 99px;
  padding: 1px 10px; font-weight: 600; font-size: 12px; }
.mmkn .chip::before { content: ""; width: 7px; height: 7px; border-radius: 50%; background: currentColor; }
.mmkn details.menu { position: relative; }
.mmkn details.menu > summary { list-style: none; display: inline-flex; align-items: center; gap: 5px; }
.mmkn details.menu > summary::-webkit-details-marker { display: none; }
.mmkn details.menu > div { position: absolute; z-index: 5; right: 0; bottom: calc(100% + 6px); background: var(--bg); border: 1px solid var(--line-2);
  border-radius: 8px; padding: 4px; display: grid; min-width: 190px; box-shadow: 0 6px 20px rgb(0 0 0 / .18); }
.mmkn details.menu > div button { all: unset; padding: 5px 10px; border-radius: 4px; cursor: pointer; }
.mmkn details.menu > div button:hover, .mmkn details.menu > div button:focus-visible { background: var(--tint); outline: none; }
.mmkn details.menu > div button:focus-visible { box-shadow: inset 0 0 0 2px var(--accent); }
`;

/** Rows of the 24-column layout from names and their widths; what lies on top is always there. */
function areas(...middle: string[]): string {
  const row = (line: string): string => {
    const parts = line.split(" ");
    const cells = parts.flatMap((name, k) => (k % 2 ? [] : Array<string>(Number(parts[k + 1])).fill(name)));
    return `"${cells.join(" ")}"`;
  };
  return ["alert 24", "top 24", "scenes 24", ...middle].map(row).join(" ");
}

const LAYOUT = `
.mmkn .explorer { display: grid; gap: 1px; background: var(--line); overflow: clip; grid-template-columns: minmax(0, 1fr);
  grid-template-areas: "alert" "top" "scenes" "picture" "without" "caption" "act" "plane" "layers" "table" "neuron"; }
.mmkn .explorer > * { background: var(--bg); }
.mmkn .explorer > [hidden] { display: none; }
.mmkn .explorer > .a-alert { background: light-dark(#fdf0ee, #3a2320); border: 0; }
.mmkn .explorer > .a-alert.info { background: var(--bg-2); }
.mmkn .a-alert { grid-area: alert; } .mmkn .a-top { grid-area: top; } .mmkn .a-scenes { grid-area: scenes; padding-block: 7px; }
.mmkn .a-picture { grid-area: picture; } .mmkn .a-without { grid-area: without; } .mmkn .a-caption { grid-area: caption; }
.mmkn .a-plane { grid-area: plane; } .mmkn .a-layers { grid-area: layers; } .mmkn .a-table { grid-area: table; }
.mmkn .a-neuron { grid-area: neuron; }
.mmkn .explorer > .a-act { grid-area: act; background: var(--bg-2); }
.mmkn .a-top { padding: 9px 14px; flex-direction: row; flex-wrap: wrap; align-items: center; gap: 8px 12px; }
.mmkn .a-act { padding: 9px 14px; flex-direction: row; flex-wrap: wrap; align-items: center; }
.mmkn .btn.primary .steady { height: 20px; line-height: 20px; min-width: 158px; }
.mmkn .lesson { display: none; margin: 0; color: var(--soft); font-size: 12.5px; }
@container (min-width: 520px) {
  .mmkn .explorer { grid-template-columns: repeat(24, minmax(0, 1fr));
    grid-template-areas: ${areas("picture 12 without 12", "caption 24", "act 24", "plane 16 layers 8", "table 24", "neuron 24")}; }
  .mmkn .explorer[data-preset="compact"] { grid-template-areas: ${areas("picture 12 caption 12", "act 24", "plane 24", "table 24")}; }
}
@container (min-width: 940px) {
  .mmkn .explorer { grid-template-areas: ${areas("picture 7 without 7 caption 10", "act 24", "plane 10 layers 4 table 10", "neuron 24")}; }
  .mmkn .explorer[data-preset="compact"] { grid-template-areas: ${areas("picture 8 caption 16", "act 24", "plane 11 table 13")}; }
}
@container (min-width: 1250px) {
  .mmkn .explorer:not([data-preset="compact"]) { grid-template-areas: ${areas("picture 6 without 6 caption 12", "picture 6 without 6 neuron 12", "act 24", "plane 10 layers 4 table 10")};
    grid-template-rows: auto auto auto auto 1fr; }
}
.mmkn .explorer[data-preset="compact"] :is(.a-without, .a-layers, .a-neuron, .extra) { display: none; }
.mmkn .explorer[data-preset="teaching"] .expert { display: none; }
.mmkn .explorer[data-preset="teaching"] .lesson { display: block; }
`;

export const CSS = TOKENS + BASE + PARTS + LAYOUT + CONTRAST;
