// Every neuron as density in the plane (activation difference, GradCAM score), with a corner to drag.

import { add, num } from "../core/arrays";
import { Axis, suitableKind, type AxisKind } from "../core/axis";
import { clamp, fill, h, segments, setAttr, setLine, steady } from "../core/dom";
import type { Evidence } from "../core/evidence";
import { faultLine } from "../core/faults";
import { integer, plural, short, tick } from "../core/format";
import type { Session } from "../core/session";
import { derive } from "../core/store";
import { fit, type ColorName } from "../core/theme";
import type { Mark, TraitName } from "../core/traits";
import { thresholdSliders } from "./threshold_sliders";

const LEFT = 56;
const BOTTOM = 36;
const TOP = 8;
const RIGHT = 8;
const CELL = 5;
const CUTS: readonly TraitName[] = [
  "mode",
  "threshold_d",
  "threshold_g",
  "quantile_d",
  "quantile_g",
];

export interface PlaneOptions {
  /** instead of the headline "thresholds" */
  title?: HTMLElement;
  /** what stands at the end of the headline */
  beside?: readonly HTMLElement[];
  /** where axes and the kind of threshold are set; by default here */
  settings?: HTMLElement;
  /** the plane is as high as its place; by default as its width asks */
  fills?: boolean;
}

export function mountThresholdPlane(
  session: Session,
  host: HTMLElement,
  options: PlaneOptions = {},
): void {
  const { store } = session;
  const axes = derive(store, ["difference", "gradcam", "shape", "axis"], () => {
    const evidence = session.evidence();
    const make = (key: "difference" | "gradcam"): Axis => {
      const sorted = evidence.sorted(key);
      const said = store.get("axis");
      return new Axis(
        sorted,
        said === "linear" || said === "log" ? (said as AxisKind) : suitableKind(sorted),
      );
    };
    return { d: make("difference"), g: make("gradcam") };
  });

  const note = h("span", { class: "note" });
  const axisChoice = segments<AxisKind>(
    "axes",
    [
      ["linear", "linear"],
      ["log", "log"],
    ],
    (axis) => store.commit({ axis }),
  );
  axisChoice.el.classList.add("expert");
  const canvas = h("canvas", { "aria-hidden": "true" });
  const corner = h("div", {
    class: "corner",
    tabindex: "0",
    role: "slider",
    "aria-label":
      "threshold corner: left and right set the difference, up and down the GradCAM score",
    "aria-valuemin": "0",
    "aria-valuemax": "100",
  });
  const plane = h("div", { class: "plane" }, canvas, corner);
  const marksLegend = h("span", { class: "legend-marks", hidden: true });
  host.append(
    h(
      "div",
      { class: "head" },
      options.title ?? h("h3", {}, "thresholds"),
      steady(note),
      ...(options.beside ?? []),
      ...(options.settings ? [] : [axisChoice.el]),
    ),
    plane,
    h(
      "div",
      { class: "keys note" },
      h("span", {}, h("i", { class: "dab kept" }), "kept"),
      h("span", {}, h("i", { class: "dab" }), "other neurons; stronger: more of them"),
      marksLegend,
    ),
    thresholdSliders(session, () => axes(), options.settings),
    faultLine(session, "propose", "choice"),
  );
  options.settings?.prepend(
    h("div", { class: "row expert" }, h("span", { class: "note" }, "axes"), axisChoice.el),
  );
  plane.classList.toggle("fills", Boolean(options.fills));
  store.watch(["marks"], () => {
    const marks = store.get("marks") ?? [];
    marksLegend.hidden = !marks.length;
    if (!marks.length) return;
    const random = marks.map((mark) => mark.random).filter((value) => value !== null);
    fill(
      marksLegend,
      h("i", { class: "ring" }),
      h("i", { class: "ring good" }),
      `${plural(marks.length, "pair")} tried: the smaller of suppression and retention, green from .90` +
        (random.length
          ? `; random neurons suppress at most ${Math.max(...random)
              .toFixed(2)
              .replace(/^0/, "")}`
          : "") +
        "; a click takes the pair",
    );
  });

  const tell = (): void => {
    const kept = session.kept().checked;
    const picked = session.picked();
    const all = `${integer(kept)} of ${integer(session.evidence().neurons)} kept`;
    const hint = " · drag the corner";
    const fits = session.size(note).width > 6.5 * (all.length + hint.length);
    const more = fits && session.size(plane).width ? hint : ""; // no corner beside the frontier
    if (session.unscored()) setLine(note, session.nothing());
    else setLine(note, picked ? `${integer(kept)} kept: ${picked.label}` : all + more);
  };

  let box = { width: 0, height: 0, w: 0, h: 0 };
  let picture: Density | undefined;
  const ground = document.createElement("canvas");
  let drawn = "";
  const family = derive(store, ["view"], () => getComputedStyle(canvas).fontFamily);

  const paint = (): void => {
    tell();
    const { width, height: room } = session.size(plane);
    if (!width) return;
    const height = options.fills && room ? room : Math.round(clamp(width * 0.62, 210, 350));
    if (height !== box.height) canvas.style.height = `${height}px`;
    box = { width, height, w: width - LEFT - RIGHT, h: height - TOP - BOTTOM };
    const tone = session.colors();
    const { d, g } = axes();
    const { ctx, ratio } = fit(canvas, width, height);
    const font = family();
    const key = [
      width,
      height,
      ratio,
      store.version("difference"),
      store.version("gradcam"),
      store.version("shape"),
      store.version("axis"),
      store.version("labels"),
      font,
      tone["cloud"],
      tone["accent"],
      tone["line"],
    ].join();
    if (!picture || key !== drawn) {
      picture = density(
        session.evidence(),
        d,
        g,
        box.w,
        box.h,
        ratio,
        tone["cloud"],
        tone["accent"],
      );
      const { ctx: under } = fit(ground, width, height);
      under.clearRect(0, 0, width, height);
      drawAxes(under, d, g, box, tone, font, store.get("labels"));
      under.drawImage(picture.cloud, LEFT, TOP, box.w, box.h);
      drawn = key;
      axisChoice.set(d.kind);
    }
    const [td, tg] = session.thresholds();
    const x = LEFT + clamp(d.position(td), 0, 1) * box.w;
    const y = TOP + (1 - clamp(g.position(tg), 0, 1)) * box.h;
    ctx.clearRect(0, 0, width, height);
    ctx.drawImage(ground, 0, 0, width, height);
    const right = LEFT + box.w;
    ctx.save();
    ctx.beginPath();
    ctx.rect(x, TOP, right - x, y - TOP);
    ctx.clip();
    ctx.fillStyle = session.unscored() ? "transparent" : tone["tint"];
    ctx.fillRect(x, TOP, right - x, y - TOP);
    ctx.drawImage(picture.kept, LEFT, TOP, box.w, box.h);
    ctx.restore();
    ctx.strokeStyle = tone["accent"];
    ctx.lineWidth = 1.5;
    ctx.setLineDash([]);
    line(ctx, x, TOP, x, y);
    line(ctx, x, y, right, y);
    ctx.lineWidth = 1;
    ctx.setLineDash([3, 3]);
    line(ctx, x, y, x, TOP + box.h);
    line(ctx, LEFT, y, x, y);
    ctx.setLineDash([]);
    drawMarks(ctx, session, d, g, box, tone, font);
    corner.style.transform = `translate(${x}px, ${y}px)`;
    const kept = session.kept();
    corner.setAttribute("aria-valuenow", String(Math.round(clamp(d.position(td), 0, 1) * 100)));
    corner.setAttribute(
      "aria-valuetext",
      `${session.scoreName("difference")} above ${short(td)}, ${session.scoreName("gradcam")} above ${short(tg)}, ${plural(kept.checked, "neuron")} kept`,
    );
  };

  const setCuts = (td: number | null, tg: number | null): void => {
    const quantile = store.get("mode") === "quantile";
    const e = session.evidence();
    if (td !== null)
      store.preview(
        quantile
          ? { quantile_d: e.quantileOf("difference", td) }
          : { threshold_d: Math.fround(td) },
      );
    if (tg !== null)
      store.preview(
        quantile ? { quantile_g: e.quantileOf("gradcam", tg) } : { threshold_g: Math.fround(tg) },
      );
  };
  const commit = (): void => {
    store.commit();
    session.announce(`${plural(session.kept().checked, "neuron")} kept`);
  };

  let grip: "both" | "d" | "g" | null = null;
  const place = (event: PointerEvent): void => {
    const bounds = plane.getBoundingClientRect();
    const { d, g } = axes();
    const px = clamp((event.clientX - bounds.left - LEFT) / box.w, 0, 1);
    const py = clamp(1 - (event.clientY - bounds.top - TOP) / box.h, 0, 1);
    setCuts(grip === "g" ? null : d.value(px), grip === "d" ? null : g.value(py));
  };
  plane.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const mark = markAt(
      session,
      axes(),
      box,
      event.offsetX,
      event.offsetY,
      event.target === canvas,
    );
    if (mark) {
      store.commit({
        mode: "absolute",
        threshold_d: mark.threshold_d,
        threshold_g: mark.threshold_g,
        picked: null,
      });
      return;
    }
    const [td, tg] = session.thresholds();
    const { d, g } = axes();
    const bounds = plane.getBoundingClientRect();
    const dx = Math.abs(event.clientX - bounds.left - LEFT - clamp(d.position(td), 0, 1) * box.w);
    const dy = Math.abs(
      event.clientY - bounds.top - TOP - (1 - clamp(g.position(tg), 0, 1)) * box.h,
    );
    grip = dx < 7 && dy > 12 ? "d" : dy < 7 && dx > 12 ? "g" : "both";
    plane.setPointerCapture(event.pointerId);
    corner.focus({ preventScroll: true });
    event.preventDefault();
    place(event);
  });
  plane.addEventListener("pointermove", (event) => {
    if (grip) return place(event);
    const mark = markAt(
      session,
      axes(),
      box,
      event.offsetX,
      event.offsetY,
      event.target === canvas,
    );
    setAttr(
      plane,
      "title",
      mark
        ? `${plural(mark.count, "neuron")}: suppression ${mark.suppression.toFixed(2)} (random neurons ${mark.random?.toFixed(2) ?? "not measured"}), retention ${mark.retention.toFixed(2)}${mark.substitution === null ? "" : `, substitution ${mark.substitution.toFixed(2)}`}; the number is the smaller; click to take these thresholds`
        : null,
    );
    canvas.style.cursor = mark ? "pointer" : "";
  });
  const end = (): void => {
    if (!grip) return;
    grip = null;
    commit();
  };
  plane.addEventListener("pointerup", end);
  plane.addEventListener("pointercancel", end);
  corner.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 0.05 : 0.01;
    const move = {
      ArrowRight: [step, 0],
      ArrowLeft: [-step, 0],
      ArrowUp: [0, step],
      ArrowDown: [0, -step],
    }[event.key];
    if (!move) return;
    event.preventDefault();
    const { d, g } = axes();
    const [td, tg] = session.thresholds();
    setCuts(
      move[0] ? d.value(clamp(d.position(td) + move[0], 0, 1)) : null,
      move[1] ? g.value(clamp(g.position(tg) + move[1], 0, 1)) : null,
    );
    commit();
  });
  session.paint(
    [
      ...CUTS,
      "difference",
      "gradcam",
      "shape",
      "axis",
      "unchecked",
      "rows_off",
      "picked",
      "marks",
      "labels",
      "facts",
      "stale",
    ],
    paint,
  );
}

type Box = { width: number; height: number; w: number; h: number };

/** The cloud of all neurons as bitmaps, drawn once per size, theme and evidence; a frame only copies them. */
interface Density {
  cloud: HTMLCanvasElement;
  kept: HTMLCanvasElement;
}

/** Counts of neurons per cell of the plane, row 0 on top. */
function histogram(evidence: Evidence, d: Axis, g: Axis, nx: number, ny: number): Int32Array {
  const counts = new Int32Array(nx * ny);
  const { difference, gradcam, size } = evidence;
  for (let i = 0; i < size; i++) {
    const [across, up] = [num(difference, i), num(gradcam, i)];
    if (Number.isNaN(across) || Number.isNaN(up)) continue;
    const x = Math.min(Math.max(Math.floor(d.position(across) * nx), 0), nx - 1);
    const y = Math.min(Math.max(Math.floor(g.position(up) * ny), 0), ny - 1);
    add(counts, (ny - 1 - y) * nx + x);
  }
  return counts;
}

function density(
  evidence: Evidence,
  d: Axis,
  g: Axis,
  width: number,
  height: number,
  ratio: number,
  cloudColor: string,
  keptColor: string,
): Density {
  const nx = Math.max(1, Math.floor(width / CELL));
  const ny = Math.max(1, Math.floor(height / CELL));
  const counts = histogram(evidence, d, g, nx, ny);
  let most = 1;
  for (const c of counts) if (c > most) most = c;
  const strength = (c: number): number => 0.3 + 0.7 * (Math.log1p(c) / Math.log1p(most));
  const draw = (color: string, floor: number): HTMLCanvasElement => {
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(width * ratio));
    canvas.height = Math.max(1, Math.round(height * ratio));
    const ctx = canvas.getContext("2d")!;
    const sx = canvas.width / nx;
    const sy = canvas.height / ny;
    const gap = Math.max(1, Math.round(ratio * 0.6));
    ctx.fillStyle = color;
    for (let y = 0; y < ny; y++) {
      for (let x = 0; x < nx; x++) {
        const c = counts[y * nx + x];
        if (!c) continue;
        ctx.globalAlpha = Math.max(floor, strength(c));
        const px = Math.round(x * sx);
        const py = Math.round(y * sy);
        ctx.fillRect(
          px,
          py,
          Math.round((x + 1) * sx) - px - gap,
          Math.round((y + 1) * sy) - py - gap,
        );
      }
    }
    return canvas;
  };
  return { cloud: draw(cloudColor, 0), kept: draw(keptColor, 0.75) };
}

function line(ctx: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number): void {
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
}

function drawAxes(
  ctx: CanvasRenderingContext2D,
  d: Axis,
  g: Axis,
  box: Box,
  tone: Record<ColorName, string>,
  font: string,
  labels: { difference: string; gradcam: string } | undefined,
): void {
  ctx.font = `11px ${font}`;
  ctx.lineWidth = 1;
  ctx.strokeStyle = tone["line"];
  ctx.fillStyle = tone["soft"];
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  let last = -Infinity;
  for (const v of d.ticks()) {
    const x = Math.round(LEFT + d.position(v) * box.w) + 0.5;
    line(ctx, x, TOP, x, TOP + box.h);
    if (x - last < 34) continue;
    ctx.fillText(tick(v), x, TOP + box.h + 4);
    last = x;
  }
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  last = Infinity;
  for (const v of g.ticks()) {
    const y = Math.round(TOP + (1 - g.position(v)) * box.h) + 0.5;
    line(ctx, LEFT, y, LEFT + box.w, y);
    if (last - y < 14) continue;
    ctx.fillText(tick(v), LEFT - 5, y);
    last = y;
  }
  if (g.both) {
    // Negative scores have their own place: the line where they begin, and what they mean.
    const zero = Math.round(TOP + (1 - g.position(0)) * box.h) + 0.5;
    ctx.strokeStyle = tone["soft"];
    ctx.setLineDash([2, 3]);
    line(ctx, LEFT, zero, LEFT + box.w, zero);
    ctx.setLineDash([]);
    ctx.textAlign = "left";
    ctx.fillText("below 0: pushes away from the word", LEFT + 5, TOP + box.h - 8);
  }
  ctx.textAlign = "center";
  ctx.fillText(
    labels?.difference ?? "activation difference",
    LEFT + box.w / 2,
    box.height - 7,
    box.w,
  );
  ctx.save();
  ctx.translate(7, TOP + box.h / 2);
  ctx.rotate(-Math.PI / 2);
  ctx.fillText(`${labels?.gradcam ?? "GradCAM"}${g.both ? " · symlog" : ""}`, 0, 0, box.h + 12);
  ctx.restore();
}

function drawMarks(
  ctx: CanvasRenderingContext2D,
  session: Session,
  d: Axis,
  g: Axis,
  box: Box,
  tone: Record<ColorName, string>,
  font: string,
): void {
  const marks = session.store.get("marks") ?? [];
  if (!marks.length) return; // to set a font takes a millisecond
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.font = `600 11px ${font}`;
  const placed: [number, number][] = [];
  for (const mark of marks) {
    const x = LEFT + clamp(d.position(mark.threshold_d), 0, 1) * box.w;
    const y = TOP + (1 - clamp(g.position(mark.threshold_g), 0, 1)) * box.h;
    ctx.beginPath();
    ctx.arc(x, y, 4.5, 0, 2 * Math.PI);
    ctx.fillStyle = tone["bg"];
    ctx.fill();
    const worth = Math.min(mark.suppression, mark.retention);
    const color = tone[worth < 0.9 ? "soft" : "new"];
    ctx.strokeStyle = color;
    ctx.lineWidth = 2;
    ctx.stroke();
    if (worth < 0.9 || placed.some(([px, py]) => Math.abs(px - x) < 34 && Math.abs(py - y) < 13))
      continue;
    placed.push([x, y]);
    ctx.lineWidth = 3;
    ctx.strokeStyle = tone["bg"];
    const label = worth.toFixed(2).replace(/^0/, "");
    ctx.strokeText(label, x + 8, y);
    ctx.fillStyle = color;
    ctx.fillText(label, x + 8, y);
  }
}

function markAt(
  session: Session,
  axes: { d: Axis; g: Axis },
  box: Box,
  x: number,
  y: number,
  onCanvas: boolean,
): Mark | undefined {
  if (!onCanvas) return undefined;
  return (session.store.get("marks") ?? []).find((mark) => {
    const mx = LEFT + clamp(axes.d.position(mark.threshold_d), 0, 1) * box.w;
    const my = TOP + (1 - clamp(axes.g.position(mark.threshold_g), 0, 1)) * box.h;
    return Math.hypot(mx - x, my - y) < 8;
  });
}
