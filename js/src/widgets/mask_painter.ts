import { part, widget } from "../core/frame";
import { mountMaskPainter } from "../parts/mask_painter";

export default widget("MaskPainter", part(mountMaskPainter), "mask painter");
