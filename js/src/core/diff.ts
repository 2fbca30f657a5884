// Which words changed between two captions: the longest common subsequence of words.

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
  const table = Array.from({ length: a.length + 1 }, () => new Int32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      table[i][j] = same(a[i], b[j])
        ? table[i + 1][j + 1] + 1
        : Math.max(table[i + 1][j], table[i][j + 1]);
    }
  }
  const out: Piece[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && same(a[i], b[j])) {
      out.push({ text: b[j], kind: "same" });
      i++;
      j++;
    } else if (i < a.length && (j >= b.length || table[i + 1][j] >= table[i][j + 1])) {
      out.push({ text: a[i++], kind: "gone" });
    } else {
      out.push({ text: b[j++], kind: "new" });
    }
  }
  return out;
}

/** Whether a word, without its punctuation, is one of the forms. */
export function isForm(word: string, forms: readonly string[]): boolean {
  const bare = word.toLowerCase().replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "");
  return forms.some((form) => form.toLowerCase() === bare);
}
