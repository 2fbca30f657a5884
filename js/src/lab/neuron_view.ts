// A *.mmkn.json file as a page: what was found, by what, where, and the words that the neurons write.
import { ABCWidgetFactory, type DocumentRegistry, DocumentWidget } from "@jupyterlab/docregistry";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { LabIcon } from "@jupyterlab/ui-components";
import { Widget } from "@lumino/widgets";

import { button, element } from "./dom.js";
import { type NeuronFile, readNeuronFile } from "./neuron_set.js";

const SHOWN = 500;
const BARS = 120;

export type OpenFile = (path: string, file: NeuronFile) => void;

/** The page. */
class NeuronPage extends Widget {
  private drawn = "";

  constructor(
    private readonly context: DocumentRegistry.Context,
    private readonly open: OpenFile,
    private readonly trans: TranslationBundle,
  ) {
    super();
    this.addClass("mmkn-file");
    this.node.tabIndex = 0;
    void context.ready.then(() => {
      if (this.isDisposed) return;
      this.draw();
      context.model.contentChanged.connect(this.draw, this);
    });
  }

  private draw(): void {
    const content = this.context.model.toString();
    if (content === this.drawn) return;
    this.drawn = content;
    let file: NeuronFile;
    try {
      file = readNeuronFile(content);
    } catch (error) {
      const why = element("p", "mmkn-panel-note", (error as Error).message);
      why.setAttribute("role", "alert");
      const title = this.trans.__("This file cannot be read as neurons");
      this.node.replaceChildren(element("h1", "", title), why);
      return;
    }
    this.node.replaceChildren(
      this.head(file),
      this.facts(file),
      ...(file.layers.length ? [this.layers(file)] : []),
      ...(file.neurons.length ? [this.table(file)] : []),
    );
  }

  private neurons(n: number): string {
    return this.trans._n("%1 neuron", "%1 neurons", n).replace("%1", n.toLocaleString("en-US"));
  }

  private head(file: NeuronFile): HTMLElement {
    const { trans } = this;
    const of = file.concept
      ? trans.__("%1 of “%2”", this.neurons(file.neurons.length), file.concept)
      : this.neurons(file.neurons.length);
    return element(
      "header",
      "mmkn-file-head",
      element("h1", "", of),
      button(
        file.dataset ? trans.__("Open in Explorer") : trans.__("Read in a notebook"),
        trans.__("Run the code for it in the notebook that was active last, or in a new one"),
        () => this.open(this.context.path, file),
      ),
    );
  }

  private facts(file: NeuronFile): HTMLElement {
    const { trans } = this;
    const unknown = trans.__("not said");
    const limits: Record<string, string> = {
      threshold_d: trans.__("Difference above"),
      threshold_g: trans.__("GradCAM above"),
      quantile_d: trans.__("Quantile of the difference"),
      quantile_g: trans.__("Quantile of GradCAM"),
      candidates: trans.__("Share of candidates"),
      top: trans.__("At most"),
    };
    const facts: [string, string][] = [
      [trans.__("Model"), file.model || unknown],
      [trans.__("Concept"), file.concept || unknown],
      [trans.__("Method"), file.method || unknown],
      ...file.thresholds.map(([name, value]): [string, string] => [
        limits[name] ?? name,
        Number(value.toPrecision(4)).toString(),
      ]),
      [
        trans.__("Scenes"),
        file.nScenes ? `${file.nScenes}${file.dataset ? ` (${file.dataset})` : ""}` : unknown,
      ],
      ...(file.versions.length
        ? [
            [trans.__("Made with"), file.versions.map((pair) => pair.join(" ")).join(", ")] as [
              string,
              string,
            ],
          ]
        : []),
    ];
    return element(
      "dl",
      "mmkn-file-facts",
      ...facts.flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]),
    );
  }

  private layers(file: NeuronFile): HTMLElement {
    const most = Math.max(...file.layers.map(([, n]) => n));
    const rows = file.layers.map(([layer, n]) => {
      const bar = element("span", "mmkn-file-bar");
      bar.style.width = `${Math.max(2, Math.round((n / most) * BARS))}px`;
      return element(
        "tr",
        "",
        element("th", "", this.trans.__("Layer %1", layer)),
        element("td", "", bar, ` ${n}`),
      );
    });
    return element("table", "mmkn-file-layers", element("tbody", "", ...rows));
  }

  private table(file: NeuronFile): HTMLElement {
    const { trans } = this;
    const experts = file.neurons.some((neuron) => neuron.expert !== null);
    const words = file.neurons.some((neuron) => neuron.words.length > 0);
    const heads = [
      "",
      trans.__("layer"),
      ...(experts ? [trans.__("expert")] : []),
      trans.__("neuron"),
      trans.__("score"),
    ].map((head) => element("th", "", head));
    if (words) heads.push(element("th", "mmkn-file-words", trans.__("words that it writes")));
    const rows = file.neurons.slice(0, SHOWN).map((neuron, place) => {
      const cells = [
        String(place + 1),
        String(neuron.layer),
        ...(experts ? [neuron.expert === null ? "" : String(neuron.expert)] : []),
        String(neuron.index),
        neuron.score === null ? "" : neuron.score.toPrecision(3),
      ].map((cell) => element("td", "", cell));
      if (words) cells.push(element("td", "mmkn-file-words", neuron.words.join(", ")));
      return element("tr", "", ...cells);
    });
    const table = element(
      "table",
      "mmkn-file-neurons",
      element("thead", "", element("tr", "", ...heads)),
      element("tbody", "", ...rows),
    );
    if (file.neurons.length > SHOWN) {
      const rest = file.neurons.length - SHOWN;
      table.append(element("caption", "", trans.__("and %1 more", rest.toLocaleString("en-US"))));
    }
    return table;
  }
}

export class NeuronFileFactory extends ABCWidgetFactory<DocumentWidget<Widget>> {
  constructor(
    options: DocumentRegistry.IWidgetFactoryOptions<DocumentWidget<Widget>>,
    private readonly open: OpenFile,
    private readonly icon: LabIcon,
    private readonly trans: TranslationBundle,
  ) {
    super(options);
  }

  protected override createNewWidget(context: DocumentRegistry.Context): DocumentWidget<Widget> {
    const content = new NeuronPage(context, this.open, this.trans);
    const widget = new DocumentWidget<Widget>({ content, context });
    widget.title.icon = this.icon;
    return widget;
  }
}
