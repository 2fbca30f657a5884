// The cloud of all neurons as a bitmap, drawn once per size, theme and evidence; a frame only copies it.

import { add, num } from "../core/arrays";
import type { Axis } from "../core/axis";
import type { Evidence } from "../core/evidence";

export interface Density {
  cloud: HTMLCanvasElement;
  kept: HTMLCanvasElement;
}

const CELL = 5;

/** Counts of neurons per cell of the plane, row 0 on top. */
export function histogram(
  evidence: Evidence,
  d: Axis,
  g: Axis,
  nx: number,
  ny: number,
): Int32Array {
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

export function density(
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
