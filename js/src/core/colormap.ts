// Colour maps that colour-blind people can read: perceptually uniform, monotone in lightness (diverging: from the middle).

const STOPS = {
  inferno: "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4",
  viridis: "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
  cividis: "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838",
  greys: "000000 ffffff",
  "blue-red": "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f",
};

export const SEQUENTIAL = ["inferno", "viridis", "cividis", "greys"] as const;
export const DIVERGING = "blue-red";

const cache = new Map<string, Uint8Array>();

/** 256 RGB triples of a colour map; an unknown name gives inferno. */
export function lut(name: string): Uint8Array {
  const key = name in STOPS ? (name as keyof typeof STOPS) : "inferno";
  let table = cache.get(key);
  if (!table) {
    const hex = STOPS[key].replaceAll(" ", "");
    const n = hex.length / 6;
    table = new Uint8Array(256 * 3);
    for (let i = 0; i < 256; i++) {
      const at = (i / 255) * (n - 1);
      const low = Math.min(Math.floor(at), n - 2);
      for (let c = 0; c < 3; c++) {
        const a = parseInt(hex.slice(low * 6 + c * 2, low * 6 + c * 2 + 2), 16);
        const b = parseInt(hex.slice(low * 6 + 6 + c * 2, low * 6 + 8 + c * 2), 16);
        table[i * 3 + c] = Math.round(a + (b - a) * (at - low));
      }
    }
    cache.set(key, table);
  }
  return table;
}

/** The colour map as a CSS gradient, for the labelled bar. */
export function gradient(name: string): string {
  const table = lut(name);
  const stops: string[] = [];
  for (let i = 0; i <= 10; i++) {
    const k = Math.round((i / 10) * 255) * 3;
    stops.push(`rgb(${table[k]} ${table[k + 1]} ${table[k + 2]})`);
  }
  return `linear-gradient(to right, ${stops.join(", ")})`;
}
