import { part, widget } from "../core/frame";
import { mountMaskPainter } from "../parts/mask_painter";

export default widget(
  "MaskPainter",
  part((session, host) => {
    host.classList.add("slim");
    mountMaskPainter(session, host);
  }),
  "mask painter",
);
