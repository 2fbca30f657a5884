import { widget } from "../core/frame";
import { mountExplorer } from "../parts/explorer";

export default widget("Explorer", mountExplorer, "Explorer of concept neurons");
