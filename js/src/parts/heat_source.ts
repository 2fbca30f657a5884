// Which map lies on the picture: one neuron, the mean of the kept, stage 1, stage 2; and what the kernel has to add.

import { asFloat32, byteLength } from "../core/binary";
import { integer } from "../core/format";
import { meanMap, neuronMap } from "../core/heat";
import { SETS, type Session } from "../core/session";

export type Overlay = "kept" | "neuron" | "difference" | "gradcam" | "none";

export interface Heat {
  map: Float32Array;
  what: string;
  unit: string;
}

export interface HeatSource {
  overlay(): Overlay;
  heat(): Heat | null;
  /** why there is no map */
  why(): string;
  /** whether both stages over the patches can be shown */
  stages(): boolean;
}

/** `asks`: whether the kernel behind this widget has a model to ask. */
export function heatSource(session: Session, asks: boolean): HeatSource {
  const { store } = session;
  let exact: { key: string; map: Float32Array } | null = null;
  let scored = { key: "", failed: "", why: "" };

  const overlay = (): Overlay => (store.get("overlay") || "kept") as Overlay;
  const scene = (): number => store.get("scene") ?? 0;
  const keptKey = (): string =>
    [...SETS.map((name) => store.version(name)), store.get("signed"), scene()].join();
  const scoresKey = (): string =>
    [
      ...SETS.map((name) => store.version(name)),
      scene(),
      (store.get("stale") ?? []).join("+"),
    ].join();
  const neurons = (count: number): string =>
    `${integer(count)} kept neuron${count === 1 ? "" : "s"}`;

  /** Whether the shown scene has a picture without the concept. */
  const paired = (): boolean => byteLength(store.get("inpainted")) > 0;

  const stageHeat = (kind: "difference" | "gradcam"): Heat | null => {
    const { rows, cols } = session.grid();
    const map = asFloat32(store.get(kind === "difference" ? "difference_map" : "gradcam_map"));
    if (!map.length || map.length !== rows * cols) return null;
    const labels = store.get("labels");
    const late = asks && !session.blocked() && scored.key !== scoresKey() ? " · updating" : "";
    const count = neurons(session.kept().checked);
    return kind === "difference"
      ? {
          map,
          what: `object painted away, mean of ${count}${late}`,
          unit: labels?.difference_map ?? labels?.difference ?? "",
        }
      : {
          map,
          what: `activation × gradient, sum of ${count}${late}`,
          unit: labels?.gradcam_map ?? labels?.gradcam ?? "",
        };
  };
  const heat = (): Heat | null => {
    const kind = overlay();
    if (kind === "none" || !session.grid().rows) return null;
    if (kind === "difference" || kind === "gradcam") return stageHeat(kind);
    const sign = Boolean(store.get("signed"));
    const unit = `${store.get("labels")?.activation ?? "activation"}${sign ? " × sign" : ""}`;
    const all = session.maps();
    if (kind === "neuron") {
      const id = store.get("selected") ?? -1;
      const map =
        neuronMap(all, id, sign) ??
        (exact?.key === `n${id}${sign}${scene()}` ? exact.map : undefined);
      return map ? { map, what: session.name(id), unit } : null;
    }
    const { map, used } = meanMap(all, session.predicate(), sign);
    const kept = session.kept().checked;
    if (exact && exact.key === keptKey())
      return { map: exact.map, what: `mean of ${neurons(kept)}`, unit };
    if (!used) return null;
    return {
      map,
      what:
        used < kept
          ? `mean of ${integer(used)} of ${integer(kept)} kept neurons`
          : `mean of ${neurons(kept)}`,
      unit,
    };
  };
  const why = (): string => {
    const kind = overlay();
    const grid = session.grid();
    if (kind === "none") return "";
    if (session.unscored()) return session.nothing();
    if (!grid.rows) return grid.reason || "no map of the tokens";
    if (kind === "neuron")
      return (store.get("selected") ?? -1) < 0 ? "choose a neuron in the table" : "map not loaded";
    if (!session.kept().checked) return session.nothing();
    if (kind === "kept") return "maps not loaded";
    if (asks && !paired())
      return `paint a mask of the ${store.get("concept") || "object"} first, on the small picture below`;
    return session.blocked()
      ? "not computed when this view was saved"
      : scored.failed === scoresKey()
        ? scored.why || "not computed for this scene"
        : "computing …";
  };

  // What lies beyond the prefetched maps is one request, made when the hand rests.
  let timer = 0;
  const want = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => void fetch(), 250) as unknown as number;
  };
  const fetch = async (): Promise<void> => {
    if (session.blocked() || !session.hasMaps()) return;
    if (store.previewing) return want();
    const kind = overlay();
    const signed = Boolean(store.get("signed"));
    const id = store.get("selected") ?? -1;
    if (kind === "neuron" && id >= 0 && !session.maps().at.has(id)) {
      const key = `n${id}${signed}${scene()}`;
      if (exact?.key === key) return;
      const reply = await session.ask("maps", { ids: [id], scene: scene(), signed });
      if (reply?.buffers[0]) take(key, reply.buffers[0]);
    } else if (kind === "kept") {
      const key = keptKey();
      const ids = session.survivors();
      if (exact?.key === key || !ids.length || ids.every((i) => session.maps().at.has(i))) return;
      const reply = await session.ask("mean_map", { scene: scene(), signed }, [
        ids.slice().buffer as ArrayBuffer,
      ]);
      if (reply?.buffers[0]) take(key, reply.buffers[0]);
    } else if (asks && (kind === "difference" || kind === "gradcam")) {
      const key = scoresKey();
      const ids = session.survivors();
      if (
        !ids.length ||
        !paired() ||
        scored.failed === key ||
        (scored.key === key && byteLength(store.get("difference_map")))
      )
        return;
      const reply = await session.ask("patch_scores", { scene: scene() }, [
        ids.slice().buffer as ArrayBuffer,
      ]);
      const missing = String(reply?.result["why"] ?? "");
      const failed = missing || session.faults.of(["patch_scores"]); // else it was cancelled
      if (key === scoresKey())
        scored = failed
          ? { key: "", failed: key, why: missing }
          : { key: reply ? key : "", failed: "", why: "" };
      store.touch("hand");
    }
  };
  const take = (key: string, data: DataView): void => {
    exact = { key, map: asFloat32(data) };
    store.touch("hand");
  };
  session.off.signal.addEventListener("abort", () => clearTimeout(timer));
  store.watch(
    [
      ...SETS,
      "overlay",
      "signed",
      "selected",
      "scene",
      "maps",
      "stale",
      "inpainted",
      "difference_map",
    ],
    want,
  );
  const stages = (): boolean =>
    (asks && !session.blocked()) || byteLength(store.get("difference_map")) > 0;
  return { overlay, heat, why, stages };
}
