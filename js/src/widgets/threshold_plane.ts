import { part, widget } from "../core/frame";
import { mountThresholdPlane } from "../parts/threshold_plane";

export default widget("ThresholdPlane", part(mountThresholdPlane), "threshold plane");
