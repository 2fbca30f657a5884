import { part, widget } from "../core/frame";
import { mountCaptionDiff } from "../parts/caption_diff";

export default widget(
  "CaptionDiff",
  part((session, host) =>
    mountCaptionDiff(session, host, {
      onword: (word) => void session.ask("compute", { concept: word }),
    }),
  ),
  "captions before and after",
);
