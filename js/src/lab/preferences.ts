// What the user set in the settings editor.
import type { ISettingRegistry } from "@jupyterlab/settingregistry";

export interface Preferences {
  colormap: string;
  preset: string;
  method: string;
}

export const DEFAULTS: Preferences = { colormap: "inferno", preset: "full", method: "two_stage" };

/** The user's preferences, as they are now; a command that comes before they are read waits for them. */
export function preferencesOf(
  registry: Pick<ISettingRegistry, "load"> | null,
  plugin: string,
): () => Promise<Preferences> {
  const settings = registry?.load(plugin).catch((error: unknown) => {
    console.error("The settings of mmkn_widgets cannot be read; the defaults hold:", error);
    return null;
  });
  return async () => ({
    ...DEFAULTS,
    ...((await settings)?.composite as Partial<Preferences> | undefined),
  });
}
