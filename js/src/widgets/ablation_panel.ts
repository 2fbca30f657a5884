import { part, widget } from "../core/frame";
import { mountAblationPanel } from "../parts/ablation_panel";

export default widget("AblationPanel", part(mountAblationPanel), "ablation");
