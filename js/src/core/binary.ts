// Bytes of the wire as typed arrays. Python sends little-endian; a host may hand over any view, or nothing.

type Bytes = DataView | Uint8Array | ArrayBuffer | null | undefined;

function span(data: Bytes): { buffer: ArrayBuffer; offset: number; length: number } {
  if (!data) return { buffer: new ArrayBuffer(0), offset: 0, length: 0 };
  if (data instanceof ArrayBuffer) return { buffer: data, offset: 0, length: data.byteLength };
  return { buffer: data.buffer as ArrayBuffer, offset: data.byteOffset, length: data.byteLength };
}

/** A view of the bytes as elements of `size` bytes; copied only when the offset is not aligned. */
function aligned(
  data: Bytes,
  size: number,
): { buffer: ArrayBuffer; offset: number; count: number } {
  const { buffer, offset, length } = span(data);
  const count = Math.floor(length / size);
  if (offset % size === 0) return { buffer, offset, count };
  return { buffer: buffer.slice(offset, offset + count * size), offset: 0, count };
}

export function asFloat32(data: Bytes): Float32Array {
  const { buffer, offset, count } = aligned(data, 4);
  return new Float32Array(buffer, offset, count);
}

export function asInt32(data: Bytes): Int32Array {
  const { buffer, offset, count } = aligned(data, 4);
  return new Int32Array(buffer, offset, count);
}

export function asUint8(data: Bytes): Uint8Array {
  const { buffer, offset, length } = span(data);
  return new Uint8Array(buffer, offset, length);
}

export function asInt8(data: Bytes): Int8Array {
  const { buffer, offset, length } = span(data);
  return new Int8Array(buffer, offset, length);
}

export function byteLength(data: Bytes): number {
  return span(data).length;
}
