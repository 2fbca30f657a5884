import type { Tutorial } from "./start.js";

/** The notebooks of notebooks/, the quickstart first; written into lib/lab by embed-notebooks.mjs. */
export declare const TUTORIALS: Tutorial[];
