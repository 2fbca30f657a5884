import { part, widget } from "../core/frame";
import { mountPatchHeatmap } from "../parts/patch_heatmap";

export default widget(
  "PatchHeatmap",
  part((session, host) => {
    host.classList.add("slim");
    mountPatchHeatmap(session, host, { swipe: true });
  }),
  "heatmap over patches",
);
