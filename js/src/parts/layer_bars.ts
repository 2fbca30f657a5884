// How many survivors each layer has; a click switches a layer off or on.

import { h, setAttr, setText, steady } from "../core/dom";
import { integer } from "../core/format";
import { roving } from "../core/roving";
import { SETS, type Session } from "../core/session";
import { calmly } from "../core/store";

export function mountLayerBars(session: Session, host: HTMLElement): void {
  const { store } = session;
  const note = h("span", { class: "note" }, "kept");
  const list = h("div", {
    class: "layers",
    role: "toolbar",
    "aria-orientation": "vertical",
    "aria-label": "neurons kept per layer; a layer that is not pressed is left out",
  });
  host.append(
    h("div", { class: "head" }, h("h3", {}, "layers"), note),
    list,
    h("div", { class: "note" }, "A click leaves a layer out."),
  );
  let bars: {
    button: HTMLButtonElement;
    fill: HTMLElement;
    count: HTMLElement;
    said: HTMLElement;
  }[] = [];

  const build = (): void => {
    const names = (store.get("rows") ?? []).map((_, row) => session.rowName(row));
    list.textContent = "";
    list.classList.toggle("dense", names.length > 14);
    bars = names.map((name, row) => {
      const fill = h("i");
      const count = h("span");
      const said = h("span", { class: "sr" });
      const button = h(
        "button",
        { type: "button", onclick: () => toggle(row) },
        h("span", {}, name),
        h("span", { class: "sr" }, ": "),
        h("i", { class: "track" }, fill),
        steady(h("span", {}, count, said)),
      );
      list.append(button);
      return { button, fill, count, said };
    });
    rove();
  };
  const rove = roving(list, () => bars.map((bar) => bar.button));
  const toggle = (row: number): void => {
    const off = new Set(store.get("rows_off") ?? []);
    if (!off.delete(row)) off.add(row);
    store.commit({ rows_off: [...off].sort((a, b) => a - b) });
  };
  store.watch(["rows"], build);
  // Text is dear to lay out: in a drag the bars move in every frame, their figures ten times a second.
  const figures = calmly(store, 100, () => {
    const { perRow } = session.kept();
    const off = session.rowsOff();
    bars.forEach((bar, row) => {
      const count = perRow[row] ?? 0;
      setText(bar.count, off.has(row) ? "off" : integer(count));
      setAttr(bar.button, "aria-pressed", String(!off.has(row)));
      setText(bar.said, off.has(row) ? "" : " kept");
    });
    setText(note, off.size ? `kept · ${off.size} off` : "kept");
  });
  store.watch(["rows", ...SETS], () => {
    const { perRow } = session.kept();
    const most = Math.max(1, ...perRow);
    bars.forEach((bar, row) => {
      bar.fill.style.transform = `scaleX(${(perRow[row] ?? 0) / most})`;
    });
    figures();
  });
}
