import { widget } from "../core/frame";
import { mountStoreExplorer } from "../parts/store_explorer";

export default widget("StoreExplorer", mountStoreExplorer, "Explorer of stored activations");
