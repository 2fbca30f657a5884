// The patches of a picture as a grid for who does not see it: the canvas has the focus, its active patch is a cell in it.

import { h, setAttr, setText } from "./dom";
import { explains, uniqueId } from "./roving";

export interface PatchGrid {
  /** Say which patch is active (-1: none) and what is there. */
  at(cell: number, rows: number, cols: number, words: string, chosen?: boolean): void;
}

const NONE = "no patch is active";
const STEPS: Record<string, readonly [number, number]> = {
  ArrowRight: [0, 1],
  ArrowLeft: [0, -1],
  ArrowDown: [1, 0],
  ArrowUp: [-1, 0],
};

/** The cell that an arrow key leads to, from the middle where none is active; undefined for other keys. */
export function step(key: string, cell: number, rows: number, cols: number): number | undefined {
  const by = STEPS[key];
  if (!by || !rows || !cols) return undefined;
  if (cell < 0) return Math.floor(rows / 2) * cols + Math.floor(cols / 2);
  const row = Math.min(Math.max(Math.floor(cell / cols) + by[0], 0), rows - 1);
  return row * cols + Math.min(Math.max((cell % cols) + by[1], 0), cols - 1);
}

export function patchGrid(canvas: HTMLCanvasElement, keys: string): PatchGrid {
  const cell = h("span", { role: "gridcell", id: uniqueId("patch") }, NONE);
  const row = h("span", { role: "row" }, cell);
  canvas.append(row, explains(canvas, keys));
  setAttr(canvas, "role", "grid");
  setAttr(canvas, "tabindex", "0");
  return {
    at(at, rows, cols, words, chosen) {
      setAttr(canvas, "aria-rowcount", String(rows));
      setAttr(canvas, "aria-colcount", String(cols));
      setAttr(canvas, "aria-activedescendant", at < 0 ? null : cell.id);
      if (at < 0) return setText(cell, NONE);
      setAttr(row, "aria-rowindex", String(Math.floor(at / cols) + 1));
      setAttr(cell, "aria-colindex", String((at % cols) + 1));
      if (chosen !== undefined) setAttr(cell, "aria-selected", String(chosen));
      setText(cell, words);
    },
  };
}
