// Which words changed between two captions: the longest common subsequence of words.

import { int, nth } from "./arrays";

export interface Piece {
  text: string;
  kind: "same" | "gone" | "new";
}

export function words(caption: string): string[] {
  return caption.split(/\s+/).filter(Boolean);
}

/** Pieces in reading order; a removed word stands before what came instead. */
export function diffWords(before: string, after: string): Piece[] {
  const a = words(before);
  const b = words(after);
  const same = (x: string, y: string): boolean => x.toLowerCase() === y.toLowerCase();
  const wide = b.length + 1;
  const longest = new Int32Array((a.length + 1) * wide);
  const ahead = (i: number, j: number): number => int(longest, i * wide + j);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i * wide + j] = same(nth(a, i), nth(b, j))
        ? ahead(i + 1, j + 1) + 1
        : Math.max(ahead(i + 1, j), ahead(i, j + 1));
    }
  }
  const out: Piece[] = [];
  for (let [i, j] = [0, 0]; ;) {
    const [gone, come] = [a[i], b[j]];
    if (gone !== undefined && come !== undefined && same(gone, come)) {
      out.push({ text: come, kind: "same" });
      i++;
      j++;
    } else if (gone !== undefined && (come === undefined || ahead(i + 1, j) >= ahead(i, j + 1))) {
      out.push({ text: gone, kind: "gone" });
      i++;
    } else if (come !== undefined) {
      out.push({ text: come, kind: "new" });
      j++;
    } else return out;
  }
}

/** Whether a word, without its punctuation, is one of the forms. */
export function isForm(word: string, forms: readonly string[]): boolean {
  const bare = word.toLowerCase().replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "");
  return forms.some((form) => form.toLowerCase() === bare);
}
