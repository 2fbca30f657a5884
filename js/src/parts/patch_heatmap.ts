// The picture with a map over its patches: one neuron, the mean of the survivors, difference, GradCAM.

import { num } from "../core/arrays";
import { byteLength } from "../core/binary";
import { DIVERGING, gradient, lut, SEQUENTIAL } from "../core/colormap";
import { h, segments, setAttr, setLine, setText, steady } from "../core/dom";
import { faultLine } from "../core/faults";
import { short } from "../core/format";
import { patchGrid, step } from "../core/patch_grid";
import { percentile, range, shade, upsample } from "../core/heat";
import { decodePicture } from "../core/pictures";
import { SETS, type Session } from "../core/session";
import { mountWork } from "../core/work";
import { fit } from "../core/theme";
import { heatSource, type Heat, type Overlay } from "./heat_source";
import { mountOwnPicture } from "./own_picture";
import { cellBox, pictureHand } from "./picture_hand";

const SIZE = 128;

export interface HeatmapOptions {
  swipe?: boolean;
  /** the kernel behind this widget has a model: it can be asked for both stages and the logit lens */
  asks?: boolean;
  /** the button for a picture of one's own lies elsewhere */
  ownElsewhere?: boolean;
  /** where opacity, colours and the like are set; by default below the picture */
  settings?: HTMLElement;
}

/** Returns the stage: the picture, where files are dropped. */
export function mountPatchHeatmap(
  session: Session,
  host: HTMLElement,
  options: HeatmapOptions = {},
): HTMLElement {
  const { store } = session;
  const source = heatSource(session, options.asks ?? false);
  let bitmap: ImageBitmap | null = null;
  let other: ImageBitmap | null = null;

  const note = h("span", { class: "note" });
  const canvas = h("canvas");
  const patches = patchGrid(
    canvas,
    "arrow keys move over the patches, space chooses one, Escape lets all go; what is chosen is put in place of a word under “put … in place of”",
  );
  const empty = h("div", { class: "empty note" });
  const stage = h("div", { class: "stage" }, canvas, empty);
  const choice = segments<Overlay>(
    "heatmap of",
    [
      ["kept", "kept"],
      ["neuron", "neuron"],
      ["difference", "difference"],
      ["gradcam", "GradCAM"],
      ["none", "off"],
    ],
    (overlay) => store.commit({ overlay }),
  );
  const opacity = h("input", {
    type: "range",
    min: 0,
    max: 100,
    "aria-label": "opacity of the heatmap",
  });
  opacity.addEventListener("input", () => store.preview({ opacity: Number(opacity.value) / 100 }));
  opacity.addEventListener("change", () => store.commit());
  const swipe = h("input", {
    type: "range",
    min: 0,
    max: 100,
    "aria-label": "swipe between the picture and the inpainted one",
    value: 100,
  });
  swipe.style.setProperty("--fill", "100%");
  const wipe = h("label", { class: "grow", hidden: true }, "swipe", swipe);
  swipe.addEventListener("input", () => {
    swipe.style.setProperty("--fill", `${swipe.value}%`);
    store.touch("hand");
  });
  const maps = h(
    "select",
    { "aria-label": "colour map", title: "colours of the heatmap" },
    ...SEQUENTIAL.map((name) => h("option", { value: name }, name)),
  );
  maps.addEventListener("change", () => store.commit({ colormap: maps.value }));
  const toggle = (
    label: string,
    name: "smooth" | "signed" | "above_percentile",
    title: string,
  ): { el: HTMLElement; box: HTMLInputElement } => {
    const box = h("input", { type: "checkbox" });
    box.addEventListener("change", () => store.commit({ [name]: box.checked }));
    return { el: h("label", { title }, box, label), box };
  };
  const smooth = toggle(
    "smooth",
    "smooth",
    "smooth: centred bilinear samples; off: the patches as they are",
  );
  const signed = toggle(
    "sign-weighted",
    "signed",
    "times the sign of the neuron's mean activation at the predicting position",
  );
  const mask = toggle(
    "peaks",
    "above_percentile",
    "only where the map is above its 95th percentile",
  );
  const low = h("span");
  const high = h("span");
  const bar = h("i");
  const unit = h("span");
  const hover = h("div", { class: "hint hover", hidden: true });
  const looks = [
    h(
      "div",
      { class: "row" },
      h("label", { class: "grow" }, "opacity", opacity),
      wipe,
      maps,
      ...(options.ownElsewhere ? [] : [mountOwnPicture(session, stage)]),
    ),
    h("div", { class: "row expert" }, smooth.el, signed.el, mask.el),
  ];
  host.append(
    h("div", { class: "head wraps" }, h("h3", {}, "picture"), choice.el),
    stage,
    h(
      "div",
      { class: "reads" },
      steady(note),
      ...(options.asks ? [mountWork(session, ["patch_scores"])] : []),
    ),
    h("div", { class: "legend" }, steady(low), bar, steady(high), unit),
    faultLine(
      session,
      "patch_scores",
      "maps",
      "mean_map",
      "lens",
      ...(options.ownElsewhere ? [] : ["upload", "scene"]),
    ),
  );
  (options.settings ?? host).append(...looks);

  stage.append(hover);
  const small = document.createElement("canvas");
  /** the picture at its size on screen */
  const ground: { of: ImageBitmap | null; canvas: HTMLCanvasElement } = {
    of: null,
    canvas: document.createElement("canvas"),
  };
  const paint = (): void => {
    const { width } = session.size(stage);
    if (!width) return;
    const aspect = bitmap ? bitmap.height / bitmap.width : 1;
    if (stage.style.aspectRatio !== String(1 / aspect)) {
      stage.style.aspectRatio = String(1 / aspect);
      stage.style.setProperty("--across", String(1 / aspect));
    }
    const height = width * aspect;
    const { ctx } = fit(canvas, width, height);
    ctx.clearRect(0, 0, width, height);
    if (bitmap) {
      if (ground.of !== bitmap || ground.canvas.width !== canvas.width) {
        ground.of = bitmap;
        const { ctx: under } = fit(ground.canvas, width, height);
        under.imageSmoothingQuality = "high";
        under.imageSmoothingEnabled = bitmap.width > 64;
        under.drawImage(bitmap, 0, 0, width, height);
      }
      ctx.drawImage(ground.canvas, 0, 0, width, height);
    }
    const shown = source.heat();
    const grid = session.grid();
    const said = shown ? shown.what : source.why();
    setLine(note, said);
    setAttr(canvas, "aria-label", `picture, patch by patch${said ? `: ${said}` : ""}`);
    const [lowest, highest] = shown ? range(shown.map) : [0, 0];
    const both = shown !== null && lowest < 0 && -lowest > 0.25 * highest;
    const table = lut(both ? DIVERGING : store.get("colormap"));
    const edge = Math.max(Math.abs(lowest), Math.abs(highest));
    const [from, to] = both ? [-edge, edge] : [Math.max(lowest, 0), highest];
    if (shown) {
      const fine = store.get("smooth") || store.get("above_percentile");
      const w = fine ? SIZE : grid.cols;
      const hh = fine ? Math.max(1, Math.round((SIZE * grid.rows) / grid.cols)) : grid.rows;
      const values = fine ? upsample(shown.map, grid.rows, grid.cols, w, hh) : shown.map;
      small.width = w;
      small.height = hh;
      const context = small.getContext("2d")!;
      const image = context.createImageData(w, hh);
      shade(values, image.data, {
        table,
        low: from,
        high: to,
        opacity: store.get("opacity") ?? 0.6,
        floor: both ? 0.05 : 0.25,
        diverging: both,
      });
      if (store.get("above_percentile")) {
        const cut = percentile(values, 0.95);
        let alpha = 3;
        for (const value of values) {
          if (!(value > cut)) image.data[alpha] = 0;
          alpha += 4;
        }
      }
      context.putImageData(image, 0, 0);
      const [x0, y0, x1, y1] = grid.extent;
      ctx.imageSmoothingEnabled = Boolean(store.get("smooth"));
      ctx.drawImage(small, x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height);
    }
    if (options.swipe && other && Number(swipe.value) < 100) {
      const x = (Number(swipe.value) / 100) * width;
      ctx.save();
      ctx.beginPath();
      ctx.rect(x, 0, width - x, height);
      ctx.clip();
      ctx.drawImage(other, 0, 0, width, height);
      ctx.restore();
      ctx.fillStyle = session.colors().accent;
      ctx.fillRect(x - 1, 0, 2, height);
    }
    hand.paint(ctx, width, height);
    if (cell >= 0 && grid.rows)
      outline(ctx, cellBox(session, cell, width, height), session.colors());
    if (empty.hidden !== (bitmap !== null)) empty.hidden = bitmap !== null;
    setText(
      empty,
      bitmap ? "" : byteLength(store.get("picture")) ? "the picture cannot be read" : "no picture",
    );
    bar.style.background = gradient(both ? DIVERGING : store.get("colormap"));
    setText(low, shown ? `${lowest < from ? "≤ " : ""}${short(from)}` : "");
    setText(high, shown ? short(to) : "");
    bar.style.visibility = shown ? "visible" : "hidden";
    setLine(unit, shown ? `${shown.unit}${grid.approximate ? " · approximate places" : ""}` : "");
    describe(shown);
  };
  let cell = -1;
  const describe = (shown: Heat | null): void => {
    const grid = session.grid();
    if (cell < 0 || !grid.rows) {
      if (!hover.hidden) hover.hidden = true;
      patches.at(-1, grid.rows, grid.cols, "");
      return;
    }
    hover.hidden = false;
    hover.classList.toggle("up", cell >= (grid.rows >> 1) * grid.cols);
    const reads = (store.get("patch_words") ?? [])[cell];
    const value = shown ? ` · ${short(num(shown.map, cell))}` : "";
    setText(
      hover,
      `patch ${Math.floor(cell / grid.cols) + 1}, ${(cell % grid.cols) + 1}${value}${reads?.length ? ` · reads ${reads.join(", ")}` : ""}`,
    );
    patches.at(cell, grid.rows, grid.cols, hover.textContent ?? "", session.patches.has(cell));
  };
  const cellAt = (event: PointerEvent): number => {
    const bounds = canvas.getBoundingClientRect();
    const grid = session.grid();
    const [x0, y0, x1, y1] = grid.extent;
    const col = Math.floor(
      (((event.clientX - bounds.left) / bounds.width - x0) / (x1 - x0)) * grid.cols,
    );
    const row = Math.floor(
      (((event.clientY - bounds.top) / bounds.height - y0) / (y1 - y0)) * grid.rows,
    );
    return col >= 0 && col < grid.cols && row >= 0 && row < grid.rows ? row * grid.cols + col : -1;
  };
  const hand = pictureHand(session, canvas, () => bitmap, cellAt);
  canvas.addEventListener("pointermove", (event) => point(cellAt(event)));
  canvas.addEventListener("pointerleave", () => point(-1));
  canvas.addEventListener("blur", () => point(-1));
  canvas.addEventListener("keydown", (event) => {
    const { rows, cols } = session.grid();
    if ((event.key === " " || event.key === "Enter") && cell >= 0) {
      event.preventDefault();
      hand.toggle(cell);
      session.announce(session.patches.has(cell) ? "patch chosen" : "patch let go");
      return;
    }
    if (event.key === "Escape" && session.patches.size) session.choosePatches(new Set());
    const next = step(event.key, cell, rows, cols);
    if (next === undefined) return;
    event.preventDefault();
    point(next);
    store.flush();
    session.announce(hover.textContent ?? "");
  });
  let asked = -1;
  const wantWords = (): void => {
    const scene = store.get("scene") ?? 0;
    if (!options.asks || asked === scene || session.blocked() || store.get("patch_words")?.length)
      return;
    asked = scene;
    void session.ask("lens", { scene }).then((reply) => {
      if (!reply && !session.faults.of(["lens"])) asked = -1; // cancelled, not failed
    });
  };
  const point = (next: number): void => {
    if (next === cell) return;
    cell = next;
    if (cell >= 0) wantWords();
    store.touch("hand");
  };

  const load = (name: "picture" | "inpainted", put: (b: ImageBitmap | null) => void): void => {
    let turn = 0;
    store.watch([name], () => {
      const mine = ++turn;
      void decodePicture(store.get(name)).then((loaded) => {
        if (mine !== turn) return;
        put(loaded);
        store.touch("hand");
      });
    });
  };
  load("picture", (b) => (bitmap = b));
  if (options.swipe) {
    load("inpainted", (b) => {
      other = b;
      wipe.hidden = b === null;
    });
  }
  store.watch(
    [
      "overlay",
      "opacity",
      "colormap",
      "smooth",
      "signed",
      "above_percentile",
      "difference_map",
      "gradcam_map",
      "grid",
      "read_only",
    ],
    () => {
      choice.set(source.overlay());
      opacity.value = String(Math.round((store.get("opacity") ?? 0.6) * 100));
      opacity.style.setProperty("--fill", `${opacity.value}%`);
      maps.value = store.get("colormap") || "inferno";
      smooth.box.checked = Boolean(store.get("smooth"));
      signed.box.checked = Boolean(store.get("signed"));
      mask.box.checked = Boolean(store.get("above_percentile"));
      choice.offer("difference", source.stages());
      choice.offer("gradcam", source.stages());
    },
  );
  store.watch(["scene"], () => session.choosePatches(new Set()));
  session.paint(
    [
      ...SETS,
      "overlay",
      "opacity",
      "colormap",
      "smooth",
      "signed",
      "above_percentile",
      "selected",
      "maps",
      "map_ids",
      "map_sign",
      "grid",
      "patch_words",
      "difference_map",
      "gradcam_map",
      "labels",
      "objects",
      "object_masks",
      "stale",
      "hand",
    ],
    paint,
  );
  return stage;
}

function outline(
  ctx: CanvasRenderingContext2D,
  box: [number, number, number, number],
  tone: { bg: string; accent: string },
): void {
  ctx.lineWidth = 3;
  ctx.strokeStyle = tone.bg;
  ctx.strokeRect(...box);
  ctx.lineWidth = 1.5;
  ctx.strokeStyle = tone.accent;
  ctx.strokeRect(...box);
}
