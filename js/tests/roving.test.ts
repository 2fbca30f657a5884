import { beforeEach, describe, expect, it } from "vitest";
import { step } from "../src/core/patch_grid";
import { jumps, roving } from "../src/core/roving";

let host: HTMLElement;
let items: HTMLButtonElement[];

beforeEach(() => {
  document.body.textContent = "";
  host = document.body.appendChild(document.createElement("div"));
  items = [0, 1, 2, 3].map(() => host.appendChild(document.createElement("button")));
});

const press = (key: string): void => {
  document.activeElement?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
};
const reached = (): number[] => items.flatMap((item, k) => (item.tabIndex === 0 ? [k] : []));

describe("a group is one Tab stop", () => {
  it("which is where the focus was; hidden and disabled items are passed over", () => {
    items[1]!.disabled = true;
    roving(host, () => items);
    expect(reached()).toEqual([0]);
    items[0]!.focus();
    press("ArrowRight");
    expect(document.activeElement).toBe(items[2]);
    expect(reached()).toEqual([2]);
    press("End");
    press("ArrowDown");
    expect(document.activeElement).toBe(items[0]);
    press("ArrowLeft");
    expect(reached()).toEqual([3]);
  });
  it("items that are made anew have one too", () => {
    const rove = roving(host, () => items);
    items[3]!.focus();
    host.textContent = "";
    items = [host.appendChild(document.createElement("button"))];
    rove();
    expect(reached()).toEqual([0]);
  });
  it("a way to the parts comes first", () => {
    const target = document.body.appendChild(document.createElement("input"));
    jumps(document.body, [["there", () => target]]);
    const bar = document.body.firstElementChild!;
    expect(bar.getAttribute("role")).toBe("toolbar");
    bar.querySelector("button")!.click();
    expect(document.activeElement).toBe(target);
  });
});

describe("patches by arrow", () => {
  it("begin in the middle and stay on the grid", () => {
    expect(step("ArrowUp", -1, 4, 6)).toBe(15);
    expect(step("ArrowUp", 3, 4, 6)).toBe(3);
    expect(step("ArrowRight", 5, 4, 6)).toBe(5);
    expect(step("ArrowDown", 5, 4, 6)).toBe(11);
    expect(step("Enter", 5, 4, 6)).toBeUndefined();
    expect(step("ArrowUp", 0, 0, 0)).toBeUndefined();
  });
});
