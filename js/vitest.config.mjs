import { defineConfig } from "vitest/config";

import { viteStyles } from "./styles.mjs";

export default defineConfig({
  plugins: [viteStyles],
  test: {
    environment: "happy-dom",
    include: ["tests/**/*.test.ts"],
    pool: "threads",
    poolOptions: { threads: { singleThread: true } },
  },
});
