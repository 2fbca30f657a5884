import { part, widget } from "../core/frame";
import { mountTokenStrip } from "../parts/token_strip";

export default widget("TokenStrip", part(mountTokenStrip), "token strip");
