import { part, widget } from "../core/frame";
import { mountAblationPanel } from "../parts/ablation_panel";

export default widget(
  "AblationPanel",
  part((session, host) => {
    host.classList.add("line");
    mountAblationPanel(session, host);
  }),
  "ablation",
);
