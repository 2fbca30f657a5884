// Encoded pictures of the wire as object URLs and bitmaps.

import { asUint8, byteLength } from "./binary";

/** An object URL of a picture, revoked when the widget goes. */
export function pictureUrl(data: DataView, signal: AbortSignal): string {
  const url = URL.createObjectURL(new Blob([asUint8(data) as Uint8Array<ArrayBuffer>]));
  signal.addEventListener("abort", () => URL.revokeObjectURL(url), { once: true });
  return url;
}

/** Decode a picture; null when there is none or it cannot be read. */
export async function decodePicture(data: DataView | undefined): Promise<ImageBitmap | null> {
  if (!data || byteLength(data) === 0) return null;
  try {
    return await createImageBitmap(new Blob([asUint8(data) as Uint8Array<ArrayBuffer>]));
  } catch {
    return null;
  }
}

/** Give the user a file. */
export function download(name: string, content: BlobPart, type: string): void {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
