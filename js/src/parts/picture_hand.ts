// The hand on the picture: its objects light up, patches are chosen, and either is carried onto a word.

import { asUint8 } from "../core/binary";
import { carry, type Cargo } from "../core/carry";
import { plural } from "../core/format";
import type { Session } from "../core/session";

export interface PictureHand {
  /** draw what is under the pointer and what is chosen */
  paint(ctx: CanvasRenderingContext2D, width: number, height: number): void;
  /** choose or let go a patch */
  toggle(cell: number): void;
}

interface Shape {
  name: string;
  area: number;
  mask: Uint8Array;
}

export function pictureHand(
  session: Session,
  canvas: HTMLCanvasElement,
  picture: () => CanvasImageSource | null,
  cellAt: (event: PointerEvent) => number,
): PictureHand {
  const { store } = session;
  let lit: Shape | null = null;
  let sweep: { pointer: number; on: boolean } | null = null;

  const shapes = (): Shape[] => {
    const masks = store.get("object_masks") ?? [];
    return (store.get("objects") ?? []).map(({ name, area }, k) => ({
      name,
      area,
      mask: asUint8(masks[k]),
    }));
  };
  const objectAt = (event: PointerEvent): Shape | null => {
    const [rows, cols] = store.get("mask_shape") ?? [0, 0];
    const bounds = canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - bounds.left) / bounds.width) * cols);
    const y = Math.floor(((event.clientY - bounds.top) / bounds.height) * rows);
    if (x < 0 || y < 0 || x >= cols || y >= rows) return null;
    const here = shapes().filter(({ mask }) => mask.length === rows * cols && mask[y * cols + x]);
    return here.sort((a, b) => a.area - b.area)[0] ?? null;
  };
  const light = (next: Shape | null): void => {
    if (next?.name === lit?.name) return;
    lit = next;
    canvas.style.cursor = next || session.patches.size ? "grab" : "";
    store.touch("hand");
  };
  const choose = (cell: number, on: boolean): void => {
    if (cell < 0 || session.patches.has(cell) === on) return;
    const next = new Set(session.patches);
    if (on) next.add(cell);
    else next.delete(cell);
    session.choosePatches(next);
  };
  const toggle = (cell: number): void => choose(cell, !session.patches.has(cell));

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || sweep) return;
    const cell = cellAt(event);
    const object = event.shiftKey ? null : objectAt(event);
    const cargo: Cargo | null =
      !event.shiftKey && session.patches.has(cell)
        ? { object: "", cells: [...session.patches], label: plural(session.patches.size, "patch") }
        : object
          ? { object: object.name, cells: [], label: object.name }
          : null;
    if (cargo) {
      carry(
        session.root,
        canvas,
        event,
        cargo,
        () => cutout(cargo, object),
        () => toggle(cell),
      );
    } else if (cell >= 0) {
      sweep = { pointer: event.pointerId, on: !session.patches.has(cell) };
      canvas.setPointerCapture?.(event.pointerId);
      choose(cell, sweep.on);
    }
  });
  canvas.addEventListener("pointermove", (event) => {
    if (sweep?.pointer === event.pointerId) choose(cellAt(event), sweep.on);
    else if (!event.buttons) light(objectAt(event));
  });
  const end = (event: PointerEvent): void => {
    if (sweep?.pointer !== event.pointerId) return;
    sweep = null;
    session.announce(
      session.patches.size ? `${plural(session.patches.size, "patch")} chosen` : "no patch chosen",
    );
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", () => light(null));

  /** A part of the mask (or of the chosen patches) as a picture of the given size, tinted or cut from the photo. */
  const stencil = (
    cargo: { object: string; cells: readonly number[] },
    shape: Shape | null,
    width: number,
    height: number,
  ): HTMLCanvasElement => {
    const out = document.createElement("canvas");
    out.width = width;
    out.height = height;
    const ctx = out.getContext("2d")!;
    ctx.imageSmoothingEnabled = false;
    if (cargo.object && shape) {
      const [rows, cols] = store.get("mask_shape") ?? [0, 0];
      const small = document.createElement("canvas");
      small.width = cols;
      small.height = rows;
      const c2 = small.getContext("2d")!;
      const image = c2.createImageData(cols, rows);
      for (let i = 0; i < shape.mask.length; i++) image.data[i * 4 + 3] = shape.mask[i] ? 255 : 0;
      c2.putImageData(image, 0, 0);
      ctx.drawImage(small, 0, 0, width, height);
    } else {
      for (const cell of cargo.cells) ctx.fillRect(...cellBox(session, cell, width, height));
    }
    return out;
  };
  const cutout = (cargo: Cargo, shape: Shape | null): HTMLElement => {
    const bounds = canvas.getBoundingClientRect();
    const [w, hh] = [
      Math.max(1, Math.round(bounds.width / 2)),
      Math.max(1, Math.round(bounds.height / 2)),
    ];
    const out = stencil(cargo, shape, w, hh);
    const ctx = out.getContext("2d")!;
    const source = picture();
    ctx.globalCompositeOperation = "source-in";
    if (source) ctx.drawImage(source, 0, 0, w, hh);
    return trim(out);
  };

  return {
    toggle,
    paint(ctx, width, height) {
      const tone = session.colors();
      if (lit) {
        const edge = stencil(
          { object: lit.name, cells: [] },
          lit,
          Math.round(width),
          Math.round(height),
        );
        const c2 = edge.getContext("2d")!;
        c2.globalCompositeOperation = "source-in";
        c2.fillStyle = tone.accent;
        c2.fillRect(0, 0, edge.width, edge.height);
        ctx.save();
        ctx.globalAlpha = 0.3;
        ctx.drawImage(edge, 0, 0, width, height);
        ctx.restore();
      }
      for (const cell of session.patches) {
        const [x, y, w, hh] = cellBox(session, cell, width, height);
        ctx.save();
        ctx.globalAlpha = 0.28;
        ctx.fillStyle = tone.accent;
        ctx.fillRect(x, y, w, hh);
        ctx.restore();
        ctx.strokeStyle = tone.bg;
        ctx.lineWidth = 2.5;
        ctx.strokeRect(x + 1, y + 1, w - 2, hh - 2);
        ctx.strokeStyle = tone.accent;
        ctx.lineWidth = 1.5;
        ctx.strokeRect(x + 1, y + 1, w - 2, hh - 2);
      }
    },
  };
}

/** x, y, width and height of a cell of the token grid on a picture of the given size. */
export function cellBox(
  session: Session,
  cell: number,
  width: number,
  height: number,
): [number, number, number, number] {
  const {
    rows,
    cols,
    extent: [x0, y0, x1, y1],
  } = session.grid();
  const w = ((x1 - x0) * width) / cols;
  const hh = ((y1 - y0) * height) / rows;
  return [x0 * width + (cell % cols) * w, y0 * height + Math.floor(cell / cols) * hh, w, hh];
}

/** Cut a canvas to what is drawn on it. */
function trim(canvas: HTMLCanvasElement): HTMLCanvasElement {
  const ctx = canvas.getContext("2d")!;
  const { data, width, height } = ctx.getImageData(0, 0, canvas.width, canvas.height);
  let [x0, y0, x1, y1] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!data[(y * width + x) * 4 + 3]) continue;
      x0 = Math.min(x0, x);
      x1 = Math.max(x1, x + 1);
      y0 = Math.min(y0, y);
      y1 = Math.max(y1, y + 1);
    }
  }
  if (x1 <= x0 || y1 <= y0) return canvas;
  const out = document.createElement("canvas");
  out.width = x1 - x0;
  out.height = y1 - y0;
  out.getContext("2d")!.drawImage(canvas, -x0, -y0);
  return out;
}
