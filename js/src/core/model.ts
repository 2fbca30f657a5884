// What a host (JupyterLab, marimo, VS Code, the offline page) gives a widget: a model with traits and messages.

export type Listener = (...args: unknown[]) => void;

export interface WidgetModel {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, listener: Listener): void;
  off(event: string, listener: Listener): void;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
}

export interface RenderProps {
  model: WidgetModel;
  el: HTMLElement;
  signal?: AbortSignal;
}

/** A trait's kind on the wire; `T` is its type in TypeScript. */
export interface Kind<T> {
  readonly kind: "float" | "int" | "bool" | "text" | "bytes" | "json";
  readonly type?: T;
}

export const float: Kind<number> = { kind: "float" };
export const int: Kind<number> = { kind: "int" };
export const bool: Kind<boolean> = { kind: "bool" };
export const text: Kind<string> = { kind: "text" };
export const bytes: Kind<DataView> = { kind: "bytes" };
export function json<T>(): Kind<T> {
  return { kind: "json" };
}

export type Traits<S> = { [K in keyof S]: S[K] extends Kind<infer T> ? T : never };
