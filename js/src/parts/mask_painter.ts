// The picture without the object, and the mask that says where: brush, eraser, box, lasso, the data set's own masks.

import { asUint8, byteLength } from "../core/binary";
import { button, clamp, fill, h, segments, setAttr, setLine, setText } from "../core/dom";
import { faultLine } from "../core/faults";
import { decodePicture } from "../core/pictures";
import { explains, roving } from "../core/roving";
import type { Session } from "../core/session";
import { mountWork } from "../core/work";
import { fit } from "../core/theme";

type Tool = "brush" | "erase" | "box" | "lasso";

export interface MaskOptions {
  title?: () => string;
  /** read-only pictures have no tools */
  tools?: boolean;
  /** Score with what is painted: the next step, beside the brush. */
  compute?: () => void;
}

export function mountMaskPainter(
  session: Session,
  host: HTMLElement,
  options: MaskOptions = {},
): void {
  const { store } = session;
  let tool: Tool = "brush";
  let bitmap: ImageBitmap | null = null;
  let original: ImageBitmap | null = null;
  let mask: Uint8Array = new Uint8Array(0);
  let [rows, cols] = [0, 0];
  let before: Uint8Array | null = null;
  let editing = false;
  let path: [number, number][] = [];
  let cursor: [number, number] | null = null;
  let down = false;

  const title = h("h3");
  const note = h("span", { class: "note" });
  const canvas = h("canvas", {
    tabindex: "0",
    role: "application",
    "aria-roledescription": "painting",
    "aria-label": "mask on the picture without the object",
  });
  const keys = explains(
    canvas,
    "arrow keys move; brush and eraser: space paints, with Shift the arrow keys paint along; box and lasso: space sets a corner, Enter fills, Escape lets go",
  );
  const empty = h("div", { class: "empty note" });
  const hint = h("div", { class: "hint" });
  const stage = h("div", { class: "stage" }, canvas, keys, empty, hint);
  const tools = segments<Tool>(
    "mask tool",
    [
      ["brush", "brush"],
      ["erase", "erase"],
      ["box", "box"],
      ["lasso", "lasso"],
    ],
    (next) => {
      tool = next;
      path = [];
      tools.set(next);
      edit();
    },
  );
  const size = h("input", { type: "range", min: 1, max: 30, value: 8, "aria-label": "brush size" });
  const undo = button("undo", () => session.history.go("undo", "mask"), {
    title: "take back the last change of the mask",
    "aria-label": "undo mask",
  });
  const clear = button("clear", () => replace(new Uint8Array(rows * cols)), {
    "aria-label": "clear mask",
  });
  const objects = h("div", {
    class: "row",
    role: "toolbar",
    "aria-label": "masks of the data set",
  });
  const rove = roving(objects, () => [...objects.querySelectorAll<HTMLElement>("button")]);
  const send = async (): Promise<boolean> => {
    const reply = await session.ask(
      "inpaint",
      { shape: [rows, cols], scene: store.get("scene") ?? 0 },
      [mask.slice().buffer as ArrayBuffer],
    );
    if (!reply) return false;
    editing = false;
    show();
    return true;
  };
  const inpaint = button("inpaint", () => void send());
  const compute = button("compute", () => options.compute?.(), {
    "aria-label": "compute with this mask",
    hidden: true,
  });
  session.finishMask = () => (editing && area() ? send() : null);
  tools.set(tool);
  host.append(
    h("div", { class: "head" }, title, note),
    stage,
    h("div", { class: "row" }, tools.el, h("label", { class: "grow" }, "size", size)),
    h(
      "div",
      { class: "row" },
      undo,
      clear,
      h("span", { class: "grow" }),
      mountWork(session, ["inpaint"]),
      inpaint,
      compute,
    ),
    faultLine(session, "inpaint"),
    objects,
  );

  const show = (): void => store.touch("brush");
  const edit = (): void => {
    editing = true;
    show();
  };
  const remember = (): void => {
    before = mask.slice();
  };
  /** One step of the page's history: what was painted since `remember`. */
  const painted = (): void => {
    const [from, to] = [before, mask.slice()];
    before = null;
    edit();
    if (!from || alike(from, to)) return;
    const put = (wanted: Uint8Array): void => {
      mask = wanted.slice();
      editing = !alike(mask, asUint8(store.get("mask")));
      show();
    };
    session.history.push({
      kind: "mask",
      what: "the mask",
      undo: () => put(from),
      redo: () => put(to),
    });
  };
  const replace = (next: Uint8Array): void => {
    remember();
    mask = next;
    painted();
  };
  const area = (): number => {
    let n = 0;
    for (const v of mask) n += +(v > 0);
    return mask.length ? n / mask.length : 0;
  };

  const stale = (): boolean => (store.get("stale") ?? []).includes(store.get("scene") ?? 0);
  const small = document.createElement("canvas");
  const paint = (): void => {
    const { width } = session.size(stage);
    if (!width) return;
    const base = editing ? (original ?? bitmap) : (bitmap ?? original);
    const aspect = base ? base.height / base.width : 1;
    stage.style.aspectRatio = String(1 / aspect);
    stage.style.setProperty("--across", String(1 / aspect));
    const height = width * aspect;
    const { ctx } = fit(canvas, width, height);
    ctx.clearRect(0, 0, width, height);
    ctx.imageSmoothingEnabled = !base || base.width > 64;
    ctx.imageSmoothingQuality = "high";
    if (base) ctx.drawImage(base, 0, 0, width, height);
    const tone = session.colors();
    if (editing && mask.length) {
      small.width = cols;
      small.height = rows;
      const c2 = small.getContext("2d", { willReadFrequently: true })!;
      c2.clearRect(0, 0, cols, rows);
      c2.fillStyle = tone.accent;
      c2.fillRect(0, 0, cols, rows);
      const image = c2.getImageData(0, 0, cols, rows);
      for (let i = 0; i < mask.length; i++) image.data[i * 4 + 3] = mask[i] ? 150 : 0;
      c2.putImageData(image, 0, 0);
      ctx.drawImage(small, 0, 0, width, height);
    }
    ctx.strokeStyle = tone.accent;
    ctx.lineWidth = 1.5;
    if (path.length > 1 && (tool === "lasso" || tool === "box")) {
      ctx.beginPath();
      const points = tool === "box" ? corners(path) : path;
      points.forEach(([x, y], k) =>
        k ? ctx.lineTo(x * width, y * height) : ctx.moveTo(x * width, y * height),
      );
      ctx.closePath();
      ctx.stroke();
    }
    if (cursor && (tool === "brush" || tool === "erase")) {
      ctx.beginPath();
      ctx.arc(
        cursor[0] * width,
        cursor[1] * height,
        (Number(size.value) / 100) * width,
        0,
        2 * Math.PI,
      );
      ctx.stroke();
    }
    empty.hidden = base !== null;
    setText(
      empty,
      base ? "" : byteLength(store.get("inpainted")) ? "the picture cannot be read" : "no picture",
    );
    hint.hidden = bitmap !== null || editing || !original;
    setText(hint, `No mask yet: paint over the ${store.get("concept") || "object"}.`);
    setText(title, options.title?.() ?? (bitmap ? "without the object" : "mask of the object"));
    const share = area() ? `mask ${(area() * 100).toFixed(1)}%` : "";
    setLine(
      note,
      [
        editing
          ? "mask not yet inpainted"
          : stale()
            ? "painted by hand: not in the scores until you compute"
            : bitmap && store.get("facts")?.inpainter
              ? `inpainted: ${store.get("facts")?.inpainter}`
              : "",
        share,
      ]
        .filter(Boolean)
        .join(", "),
    );
    const blocked = session.blocked();
    undo.disabled = !session.history.next("undo", "mask");
    compute.hidden = !options.compute || blocked !== null || !(stale() || (editing && area() > 0));
    compute.classList.toggle("primary", !compute.hidden);
    inpaint.disabled = blocked !== null || !editing || area() === 0;
    setAttr(
      inpaint,
      "title",
      blocked ?? (area() ? "paint the masked part away, and compute with it" : "the mask is empty"),
    );
    size.style.setProperty("--fill", `${(Number(size.value) / 30) * 100}%`);
  };

  const stamp = (x: number, y: number): void => {
    const r = (Number(size.value) / 100) * cols;
    const [cx, cy] = [x * cols, y * rows];
    const value = tool === "erase" ? 0 : 255;
    for (let j = Math.max(0, Math.floor(cy - r)); j <= Math.min(rows - 1, Math.ceil(cy + r)); j++) {
      for (
        let i = Math.max(0, Math.floor(cx - r));
        i <= Math.min(cols - 1, Math.ceil(cx + r));
        i++
      ) {
        if (Math.hypot(i + 0.5 - cx, j + 0.5 - cy) <= r) mask[j * cols + i] = value;
      }
    }
  };
  const stroke = (from: [number, number], to: [number, number]): void => {
    const steps = Math.max(
      1,
      Math.ceil(Math.hypot((to[0] - from[0]) * cols, (to[1] - from[1]) * rows)),
    );
    for (let k = 0; k <= steps; k++)
      stamp(from[0] + ((to[0] - from[0]) * k) / steps, from[1] + ((to[1] - from[1]) * k) / steps);
  };
  const where = (event: PointerEvent): [number, number] => {
    const bounds = canvas.getBoundingClientRect();
    return [
      clamp((event.clientX - bounds.left) / bounds.width, 0, 1),
      clamp((event.clientY - bounds.top) / bounds.height, 0, 1),
    ];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !mask.length) return;
    canvas.setPointerCapture(event.pointerId);
    remember();
    down = true;
    const at = where(event);
    path = [at];
    if (tool === "brush" || tool === "erase") stamp(...at);
    edit();
  });
  canvas.addEventListener("pointermove", (event) => {
    const at = where(event);
    cursor = at;
    if (down) {
      if (tool === "brush" || tool === "erase") stroke(path.at(-1) ?? at, at);
      path = [...(tool === "box" ? path.slice(0, 1) : path), at];
    }
    show();
  });
  const finish = (byKey: unknown = false): void => {
    if (!down && byKey !== true) return;
    down = false;
    if (tool === "box") fillPolygon(mask, rows, cols, corners(path));
    if (tool === "lasso" && path.length > 2) fillPolygon(mask, rows, cols, path);
    path = [];
    painted();
  };
  canvas.addEventListener("pointerup", finish);
  canvas.addEventListener("pointercancel", finish);
  canvas.addEventListener("pointerleave", () => {
    cursor = null;
    show();
  });
  const painting = (): boolean => tool === "brush" || tool === "erase";
  const tell = (): void => {
    if (!cursor) return;
    const [x, y] = cursor;
    const at =
      Math.min(Math.floor(y * rows), rows - 1) * cols + Math.min(Math.floor(x * cols), cols - 1);
    const place = `${Math.round(x * 100)} across, ${Math.round(y * 100)} down`;
    session.announce(`${place}, ${mask[at] ? "masked" : "not masked"}`);
  };
  /** A shape that keys draw: its corners so far, and the cursor. */
  const close = (): void => {
    remember();
    finish(true);
    tell();
  };
  canvas.addEventListener("keydown", (event) => {
    const step = {
      ArrowRight: [0.03, 0],
      ArrowLeft: [-0.03, 0],
      ArrowDown: [0, 0.03],
      ArrowUp: [0, -0.03],
    }[event.key];
    if (step) {
      event.preventDefault();
      const from = cursor ?? [0.5, 0.5];
      const [dx = 0, dy = 0] = step;
      cursor = [clamp(from[0] + dx, 0, 1), clamp(from[1] + dy, 0, 1)];
      if (event.shiftKey && painting() && mask.length) {
        remember();
        stroke(from, cursor);
        painted();
      } else if (path.length)
        path = [...(tool === "box" ? path.slice(0, 1) : path.slice(0, -1)), cursor];
      show();
      tell();
    } else if (event.key === " " && mask.length) {
      event.preventDefault();
      cursor ??= [0.5, 0.5];
      if (painting()) {
        remember();
        stamp(...cursor);
        painted();
        tell();
      } else if (tool === "box" && path.length) close();
      else {
        path = path.length ? [...path, cursor] : [cursor, cursor];
        show();
        session.announce("corner set");
      }
    } else if (event.key === "Enter" && path.length) {
      event.preventDefault();
      close();
    } else if (event.key === "Escape" && path.length) {
      event.preventDefault();
      path = [];
      show();
    }
  });
  size.addEventListener("input", show);

  let turn = 0;
  store.watch(["inpainted", "picture"], () => {
    const mine = ++turn;
    void Promise.all([
      decodePicture(store.get("inpainted")),
      decodePicture(store.get("picture")),
    ]).then(([without, before]) => {
      if (mine !== turn) return;
      bitmap = without;
      original = before;
      show();
    });
  });
  store.watch(["mask", "mask_shape"], () => {
    [rows, cols] = store.get("mask_shape") ?? [0, 0];
    const given = asUint8(store.get("mask"));
    const next = given.length === rows * cols ? given.slice() : new Uint8Array(rows * cols);
    if (!alike(mask, next)) session.history.drop("mask"); // another picture's, not what was painted here
    mask = next;
    editing = false;
    show();
  });
  store.watch(["objects", "object_masks"], () => {
    const masks = store.get("object_masks") ?? [];
    objects.hidden = !masks.length;
    fill(
      objects,
      h("span", { class: "note", title: "the data set's masks" }, "objects"),
      ...(store.get("objects") ?? []).map((object, k) =>
        button(
          object.name,
          () => {
            const given = asUint8(masks[k]);
            if (given.length !== rows * cols) return;
            replace(given.slice());
          },
          {
            title: `use the data set's mask of “${object.name}” (${(object.area * 100).toFixed(1)}%)`,
            "aria-label": `${object.name}: its mask`,
          },
        ),
      ),
    );
    rove();
  });
  store.watch(["scene"], () => session.history.drop("mask"));
  session.paint(["read_only", "steps", "concept", "facts", "stale", "scene", "brush"], paint);
}

function alike(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((value, k) => value > 0 === b[k]! > 0);
}

function corners([start, end]: readonly [number, number][]): [number, number][] {
  if (!start || !end) return [];
  const [[x0, y0], [x1, y1]] = [start, end];
  return [
    [x0, y0],
    [x1, y0],
    [x1, y1],
    [x0, y1],
  ];
}

/** Set the cells whose centre lies in the polygon (even-odd rule). */
export function fillPolygon(
  mask: Uint8Array,
  rows: number,
  cols: number,
  polygon: readonly [number, number][],
): void {
  for (let y = 0; y < rows; y++) {
    const cy = (y + 0.5) / rows;
    for (let x = 0; x < cols; x++) {
      const cx = (x + 0.5) / cols;
      let inside = false;
      let [xb, yb] = polygon.at(-1) ?? [0, 0];
      for (const [xa, ya] of polygon) {
        if (ya > cy !== yb > cy && cx < ((xb - xa) * (cy - ya)) / (yb - ya) + xa) inside = !inside;
        xb = xa;
        yb = ya;
      }
      if (inside) mask[y * cols + x] = 255;
    }
  }
}
