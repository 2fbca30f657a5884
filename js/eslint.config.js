import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["node_modules", "lib", "coverage", "*.mjs", "style"] },
  ...tseslint.configs.strict,
  {
    rules: {
      // Text from data is never HTML: elements are built with core/dom.ts.
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "use core/dom.ts" },
        { property: "outerHTML", message: "use core/dom.ts" },
        { property: "insertAdjacentHTML", message: "use core/dom.ts" },
      ],
      "no-eval": "error",
      "no-new-func": "error",
      eqeqeq: "error",
      "@typescript-eslint/no-non-null-assertion": "off",
    },
  },
);
