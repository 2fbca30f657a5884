// What is known of the chosen neuron: its words, where it looks across the scenes, its share in other concepts.

import { num } from "../core/arrays";
import { isForm } from "../core/diff";
import { button, fill, h } from "../core/dom";
import { faultLine } from "../core/faults";
import { change, integer, plural, short } from "../core/format";
import type { Session } from "../core/session";
import { pictureUrl } from "../core/pictures";
import { mountWork } from "../core/work";

interface Share {
  name: string;
  contribution: number;
  activation: number;
  rank: number;
  captions: number;
}

const SHOWN = 6;
/** what the words of a neuron are */
export const WRITES =
  "the words whose scores the neuron raises most, with the sign of its activation: its output column through the unembedding";

/** What the neuron adds to the words of captions: the largest shares, and the concept's own. */
function shareBars(
  shares: Share[],
  concept: string,
  captions: number,
  neurons: number,
): HTMLElement[] {
  const first = shares.slice(0, SHOWN);
  const own = shares.find((share) => share.name === concept);
  if (own && !first.includes(own)) first.push(own);
  if (!first.length) return [];
  const edge = Math.max(...first.map((share) => Math.abs(share.contribution)), 1e-9);
  const rows = first.flatMap((share) => {
    const width = `${(Math.abs(share.contribution) / edge) * 100}%`;
    const title = `mean of ${plural(share.captions, "caption")} that name “${share.name}”; activation there ${short(share.activation)}`;
    return [
      h("span", { class: share.name === concept ? "own" : null, title }, share.name),
      h(
        "span",
        { class: "bar", title },
        h("i", { class: share.contribution < 0 ? "less" : null, style: { width } }),
      ),
      h("span", { class: "num" }, change(share.contribution)),
      h("span", { class: "note" }, `#${integer(share.rank)}`),
      h("span", { class: "note" }, plural(share.captions, "caption")),
    ];
  });
  return [
    h(
      "div",
      {
        class: "note",
        title: `activation × (unembedding · output column), mean, before the final norm; # is its rank among ${plural(neurons, "neuron")}; from ${plural(captions, "greedy caption")}`,
      },
      "what it adds to a word's logit, where captions predict that word",
    ),
    h("div", { class: "shares" }, ...rows),
  ];
}

/** Which side a neuron is on where the word is predicted. */
function signOf(acts: number | null): string {
  return acts === null ? "" : `at the word ${change(acts)} · `;
}

/** `beside`: more about the chosen neuron, shown with it. */
export function neuronPage(session: Session, beside?: HTMLElement): HTMLElement {
  const { store } = session;
  const title = h("h3");
  const scores = h("span", { class: "note" });
  const words = h("div", {
    class: "note writes",
    title: WRITES,
  });
  const strip = h("div", {
    class: "strip",
    role: "group",
    "aria-label": "scenes that excite this neuron most",
  });
  const more = h("div", { class: "note" });
  const elsewhere = h("div");
  const open = button("where else?", () => void load(), {
    class: "btn yields",
    title: "the scenes that excite this neuron most, and what it adds to other words",
  });
  const about = h(
    "div",
    { class: "page" },
    words,
    faultLine(session, "neuron", "tokens"),
    beside,
    h("div", { class: "found" }, h("div", {}, more, strip), elsewhere),
  );
  const el = h(
    "div",
    { class: "page" },
    h(
      "div",
      { class: "head" },
      title,
      scores,
      h("span", { class: "grow" }),
      mountWork(session, ["neuron"]),
      open,
    ),
    about,
  );
  let shown = -1;

  const load = async (): Promise<void> => {
    const id = shown;
    fill(more, "looking through the scenes …");
    const reply = await session.ask("neuron", { id });
    if (!reply) {
      if (shown === id) fill(more);
      return;
    }
    if (shown !== id) return;
    const scenes = (reply.result["scenes"] ?? []) as {
      scene: number;
      value: number;
      patch: [number, number] | null;
    }[];
    const thumbnails = store.get("thumbnails") ?? [];
    fill(
      strip,
      ...scenes.map(({ scene, value, patch }) => {
        const label = `scene ${scene + 1}: ${short(value)}${patch ? ` at patch ${patch[0] + 1}, ${patch[1] + 1}` : ""}`;
        const item = h("button", {
          type: "button",
          title: label,
          "aria-label": label,
          onclick: () => store.commit({ scene }),
        });
        if (thumbnails[scene])
          item.append(
            h("img", { src: pictureUrl(thumbnails[scene], session.off.signal), alt: "" }),
          );
        return item;
      }),
    );
    fill(
      more,
      scenes.length
        ? "scenes that excite it most, the strongest first"
        : "its patches have no place on the picture",
    );
    fill(
      elsewhere,
      ...shareBars(
        reply.result["concepts"] as Share[],
        store.get("concept") ?? "",
        Number(reply.result["captions"]),
        Number(reply.result["neurons"]),
      ),
    );
  };

  session.store.watch(
    ["selected", "difference", "activation", "words", "map_ids", "concept_forms"],
    () => {
      const id = store.get("selected") ?? -1;
      const e = session.evidence();
      const none = id < 0 || id >= e.size;
      el.hidden = none && !beside;
      about.hidden = open.hidden = none;
      fill(title, none ? "neuron" : session.name(id));
      fill(
        scores,
        none
          ? "choose one in the table"
          : `${signOf(session.activation(id))}${session.scoreName("difference")} ${short(num(e.difference, id))} · ${session.scoreName("gradcam")} ${short(num(e.gradcam, id))}`,
      );
      if (none) return;
      if (id !== shown) {
        fill(strip);
        fill(more);
        fill(elsewhere);
        shown = id;
      }
      const forms = store.get("concept_forms") ?? [];
      fill(
        words,
        (session.activation(id) ?? 0) < 0 ? "writes, firing negatively: " : "writes ",
        ...(session.words(id) ?? ["…"]).flatMap((word, k) => [
          k ? ", " : "",
          isForm(word, forms) ? h("b", {}, word.trim()) : word.trim(),
        ]),
      );
      open.hidden = !session.looks();
    },
  );
  return el;
}
