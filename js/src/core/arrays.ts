// Reading and counting in arrays by an index that the compiler cannot know to lie inside.

/** The item at an index that must be there. */
export function nth<T>(list: ArrayLike<T>, index: number): T {
  const item = list[index];
  if (item === undefined) throw new RangeError(`no item ${index} of ${list.length}`);
  return item;
}

// Apart from `nth`, because a loop over hundreds of thousands of neurons stays fast only while what it calls sees few
// kinds of arrays; for-of is twice as slow there.

/** A score or a value of a map; outside of the array (the rest is on its way) no number, which no comparison keeps. */
export function num(values: Float32Array | Uint8Array, index: number): number {
  return values[index] ?? NaN;
}

/** An id or a place that must be there. */
export function int(values: Uint32Array | Int32Array | Uint16Array, index: number): number {
  return values[index] ?? nth(values, index);
}

/** Add to a count; returns what it was before. */
export function add(counts: Int32Array, index: number, amount = 1): number {
  const before = counts[index] ?? 0;
  counts[index] = before + amount;
  return before;
}
