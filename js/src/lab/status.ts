// The status bar's word on the current notebook: what is changed in its models, until nothing is.
import type { TranslationBundle } from "@jupyterlab/translation";
import { type ISignal, Signal } from "@lumino/signaling";
import { Widget } from "@lumino/widgets";

import { element } from "./dom.js";
import { summary } from "./summary.js";
import type { Watches } from "./watch.js";

export class StatusItem extends Widget {
  private readonly button = element("button", "mmkn-status");
  private readonly active = new Signal<this, void>(this);

  constructor(
    private readonly watches: Watches,
    private readonly trans: TranslationBundle,
    openPanel: () => void,
  ) {
    super();
    this.button.type = "button";
    this.button.title = trans.__("Models of this notebook are changed: show the panel");
    this.button.addEventListener("click", openPanel);
    this.node.append(this.button);
    watches.changed.connect(this.draw, this);
    this.draw();
  }

  /** Whether there is something to say. */
  get isActive(): boolean {
    return this.button.textContent !== "";
  }

  /** `isActive` changed. */
  get activeChanged(): ISignal<this, void> {
    return this.active;
  }

  private draw(): void {
    const said = summary(this.watches.current?.overview ?? null, this.trans);
    if (said === this.button.textContent) return;
    const was = this.isActive;
    this.button.textContent = said;
    if (was !== this.isActive) this.active.emit();
  }
}
