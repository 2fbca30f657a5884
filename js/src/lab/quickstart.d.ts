/** The content of notebooks/quickstart.ipynb, written into lib/lab by embed-quickstart.mjs. */
export declare const QUICKSTART: Record<string, unknown>;
