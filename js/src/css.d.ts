// A style sheet is a text, minified and with what it imports (styles.mjs).
declare module "*.css" {
  const text: string;
  export default text;
}
