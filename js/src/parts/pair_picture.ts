// One side's picture with the map of the chosen part, or of the chosen neuron.

import { num } from "../core/arrays";
import { asFloat32, byteLength } from "../core/binary";
import { DIVERGING, gradient, lut } from "../core/colormap";
import { h, setAttr, setText } from "../core/dom";
import { plural, short } from "../core/format";
import { meanMap, neuronMap, range, shade, upsample } from "../core/heat";
import type { Pair, PairHeat } from "../core/pair";
import { patchGrid, step } from "../core/patch_grid";
import { SIDES, type Side } from "../core/pair_traits";
import { decodePicture } from "../core/pictures";
import { fit } from "../core/theme";

const SIZE = 128;

export function mountPairPicture(pair: Pair, which: Side, host: HTMLElement): void {
  const { session } = pair;
  const side = pair.side(which);
  const { store } = side;
  let bitmap: ImageBitmap | null = null;
  let exact: { key: string; map: Float32Array } | null = null;
  let cell = -1;

  const note = h("div", { class: "note" });
  const canvas = h("canvas");
  const patches = patchGrid(canvas, "arrow keys move over the patches");
  const stage = h("div", { class: "stage" }, canvas);
  const [low, bar, high] = [h("span"), h("i"), h("span")];
  const hover = h("span", { class: "hover" });
  host.append(stage, h("div", { class: "legend" }, low, bar, high, hover), note);

  const chosen = (): number => store.get("selected") ?? -1;
  const key = (): string =>
    `${pair.part()} ${chosen()} ${Boolean(store.get("signed"))} ${store.get("scene") ?? 0} ${pair.key()}`;
  let last: { key: string; heat: PairHeat | null } | undefined;
  const heat = (): PairHeat | null => {
    const now = [
      key(),
      exact?.key,
      store.version("maps"),
      store.version("map_ids"),
      store.version("grid"),
    ].join();
    if (last?.key !== now) last = { key: now, heat: made() };
    return last.heat;
  };
  const made = (): PairHeat | null => {
    if (!side.grid().rows) return null;
    const [maps, sign] = [side.maps(), Boolean(store.get("signed"))];
    if (chosen() >= 0) {
      const map = neuronMap(maps, chosen(), sign) ?? (exact?.key === key() ? exact.map : undefined);
      return map ? { map, what: session.name(chosen()) } : null;
    }
    const part = pair.part();
    const count = pair.counts().count[part];
    if (exact?.key === key())
      return { map: exact.map, what: `mean of ${plural(count, "neuron")}, ${pair.title(part)}` };
    const { map, used } = meanMap(maps, pair.inside(part), sign);
    if (!used) return null;
    return {
      map,
      what: `mean of ${used < count ? `${used} of ` : ""}${plural(count, "neuron")}, ${pair.title(part)}`,
    };
  };
  const why = (): string =>
    side.grid().reason ||
    (chosen() < 0 && !pair.counts().count[pair.part()] ? "this part is empty" : "map not loaded");

  pair.heats[which] = heat;

  /** The range of both pictures: one colour means the same on either. */
  const scale = (): [number, number] => {
    const ranges = SIDES.map((one) => pair.heats[one]?.()).flatMap((one) =>
      one ? [range(one.map)] : [],
    );
    return [Math.min(...ranges.map(([from]) => from)), Math.max(...ranges.map(([, to]) => to))];
  };
  const small = document.createElement("canvas");
  const paint = (): void => {
    const { width } = side.size(stage);
    if (!width) return;
    const aspect = bitmap ? bitmap.height / bitmap.width : 1;
    if (stage.style.aspectRatio !== String(1 / aspect))
      stage.style.aspectRatio = String(1 / aspect);
    const height = width * aspect;
    const { ctx } = fit(canvas, width, height);
    ctx.clearRect(0, 0, width, height);
    ctx.imageSmoothingQuality = "high";
    ctx.imageSmoothingEnabled = !bitmap || bitmap.width > 64;
    if (bitmap) ctx.drawImage(bitmap, 0, 0, width, height);
    const shown = heat();
    const { rows, cols, extent, approximate } = side.grid();
    const [lowest, highest] = shown ? scale() : [0, 0];
    const both = shown !== null && lowest < 0 && -lowest > 0.25 * highest;
    const edge = Math.max(-lowest, highest);
    const [from, to] = both ? [-edge, edge] : [Math.max(lowest, 0), highest];
    if (shown) {
      const tall = Math.max(1, Math.round((SIZE * rows) / cols));
      small.width = SIZE;
      small.height = tall;
      const context = small.getContext("2d")!;
      const image = context.createImageData(SIZE, tall);
      shade(upsample(shown.map, rows, cols, SIZE, tall), image.data, {
        table: lut(both ? DIVERGING : store.get("colormap")),
        low: from,
        high: to,
        opacity: store.get("opacity") ?? 0.6,
        floor: both ? 0.05 : 0.25,
        diverging: both,
      });
      context.putImageData(image, 0, 0);
      const [x0, y0, x1, y1] = extent;
      ctx.imageSmoothingEnabled = true;
      ctx.drawImage(small, x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height);
    }
    bar.style.background = gradient(both ? DIVERGING : store.get("colormap"));
    bar.style.visibility = shown ? "visible" : "hidden";
    setText(low, shown ? `${lowest < from ? "≤ " : ""}${short(from)}` : "");
    setText(high, shown ? short(to) : "");
    const said = shown ? `${shown.what}${approximate ? " · approximate places" : ""}` : why();
    setText(
      note,
      shown
        ? `activation${store.get("signed") ? " × sign" : ""}, one scale for both pictures · ${said}`
        : said,
    );
    setText(
      hover,
      shown && cell >= 0
        ? `patch ${Math.floor(cell / cols) + 1}, ${(cell % cols) + 1} · ${short(num(shown.map, cell))}`
        : "",
    );
    patches.at(shown ? cell : -1, rows, cols, hover.textContent ?? "");
    let peak = 0;
    if (shown)
      for (let k = 1; k < shown.map.length; k++)
        if (num(shown.map, k) > num(shown.map, peak)) peak = k;
    setAttr(
      canvas,
      "aria-label",
      `${store.get("scenes")?.[store.get("scene") ?? 0]?.name ?? "picture"}: ${said}${shown ? `; largest, ${short(num(shown.map, peak))}, at patch row ${Math.floor(peak / cols) + 1}, column ${(peak % cols) + 1}` : ""}`,
    );
  };
  canvas.addEventListener("pointermove", (event) => {
    const {
      rows,
      cols,
      extent: [x0, y0, x1, y1],
    } = side.grid();
    const box = canvas.getBoundingClientRect();
    const col = Math.floor((((event.clientX - box.left) / box.width - x0) / (x1 - x0)) * cols);
    const row = Math.floor((((event.clientY - box.top) / box.height - y0) / (y1 - y0)) * rows);
    point(col >= 0 && col < cols && row >= 0 && row < rows ? row * cols + col : -1);
  });
  canvas.addEventListener("pointerleave", () => point(-1));
  canvas.addEventListener("blur", () => point(-1));
  canvas.addEventListener("keydown", (event) => {
    const { rows, cols } = side.grid();
    const next = step(event.key, cell, rows, cols);
    if (next === undefined) return;
    event.preventDefault();
    point(next);
    store.flush();
    session.announce(hover.textContent ?? "");
  });
  const point = (next: number): void => {
    if (next === cell) return;
    cell = next;
    store.touch("view");
  };

  let turn = 0;
  store.watch(["picture"], () => {
    const mine = ++turn;
    void decodePicture(store.get("picture")).then((loaded) => {
      if (mine !== turn) return;
      bitmap = loaded;
      store.touch("view");
    });
  });

  // What lies beyond the prefetched maps is one request, made when the hand rests.
  let timer = 0;
  const want = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => void fetch(), 250) as unknown as number;
  };
  const fetch = async (): Promise<void> => {
    if (session.blocked() || !byteLength(store.get("maps")) || exact?.key === key()) return;
    if (pair.a.store.previewing || pair.b.store.previewing) return want();
    const ids = chosen() >= 0 ? Int32Array.of(chosen()) : pair.ids(pair.part());
    const known = side.maps().at;
    if (!ids.length || ids.every((id) => known.has(id))) return;
    const asked = key();
    const args = {
      side: which,
      scene: store.get("scene") ?? 0,
      signed: Boolean(store.get("signed")),
    };
    const reply = await side.ask("mean_map", args, [ids.slice().buffer as ArrayBuffer]);
    if (!reply?.buffers[0]) return;
    exact = { key: asked, map: asFloat32(reply.buffers[0]) };
    store.touch("view");
  };
  session.off.signal.addEventListener("abort", () => clearTimeout(timer));
  const other = pair.side(which === "a" ? "b" : "a");
  other.store.watch(["maps", "grid"], () => store.touch("view"));
  session.store.watch(["part", "view"], () => {
    want();
    paint();
  });
  side.paint(
    [
      "selected",
      "signed",
      "opacity",
      "colormap",
      "maps",
      "map_ids",
      "grid",
      "scene",
      "scenes",
      "concept",
    ],
    () => {
      want();
      paint();
    },
  );
}
