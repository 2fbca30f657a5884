// Numbers and names as people read them.

/** Three significant digits, no leading zero: .031, 1.92, 12.4, 1,204. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1000) return integer(value);
  if (size < 0.001) return value.toExponential(1).replace("e-", "e−").replace(/^-/, "−");
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value
    .toFixed(digits)
    .replace(/^(-?)0\./, "$1.")
    .replace(/^-/, "−");
}

/** A round number as an axis shows it: .3, 1, 2.5. */
export function tick(value: number): string {
  const text =
    Math.abs(value) < 0.001 && value !== 0
      ? value.toExponential(0).replace("e-", "e−")
      : String(Number(value.toPrecision(3)));
  return text.replace(/^(-?)0\./, "$1.").replace(/^-/, "−");
}

/** A signed change: +1.2, −3.7. */
export function change(value: number): string {
  return (value > 0 ? "+" : "") + short(value);
}

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function integer(value: number): string {
  return WHOLE.format(value);
}

/** "1 neuron", "61 neurons". */
export function plural(count: number, noun: string): string {
  const ending = count === 1 ? "" : /(ch|sh|s|x)$/.test(noun) ? "es" : "s";
  return `${integer(count)} ${noun}${ending}`;
}

/** A share as "top 5%". */
export function top(share: number): string {
  const percent = share * 100;
  if (percent <= 0) return "none";
  const digits = percent >= 10 ? 0 : percent >= 1 ? 1 : percent >= 0.1 ? 2 : 3;
  return `top ${Number(percent.toFixed(digits))}%`;
}

/** A Python literal of the float32 value: the fewest digits that give the same float32 again. */
export function float32Literal(value: number): string {
  const target = Math.fround(value);
  for (let digits = 1; digits <= 9; digits++) {
    const text = Number(target.toPrecision(digits));
    if (Math.fround(text) === target) return pythonFloat(text);
  }
  return pythonFloat(target);
}

export function pythonFloat(value: number): string {
  if (value === Infinity) return 'float("inf")';
  if (value === -Infinity) return 'float("-inf")';
  const text = String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

export function pythonString(value: string): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

export function seconds(value: number): string {
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 90) return `${Math.round(value)} s`;
  return `${Math.round(value / 60)} min`;
}

/** "12 s left" in whole seconds; nothing when it is not known, or less than one. */
export function left(value: number | null | undefined): string {
  if (value === null || value === undefined || !(value >= 0.5)) return "";
  return value < 90 ? `${Math.round(value)} s left` : `${Math.round(value / 60)} min left`;
}
