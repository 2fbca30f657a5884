import { part, widget } from "../core/frame";
import { mountCaptionDiff } from "../parts/caption_diff";

export default widget("CaptionDiff", part(mountCaptionDiff), "captions before and after");
