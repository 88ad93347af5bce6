import { readFileSync } from "node:fs";

import { defineConfig, type Plugin } from "vite";

/** The licences of what is bundled stand once, in NOTICE, and go with the page. */
const notice: Plugin = {
  name: "notice",
  generateBundle() {
    this.emitFile({ type: "asset", fileName: "notice.txt", source: readFileSync("../NOTICE", "utf8") });
  },
};

// Names of files carry no hash: the daemon answers with an ETag, and what is committed keeps its name.
export default defineConfig({
  plugins: [notice],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../aggregator/web",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 400,
    rollupOptions: {
      output: {
        entryFileNames: "page.js",
        chunkFileNames: "[name].js",
        assetFileNames: "page[extname]",
      },
    },
  },
});
