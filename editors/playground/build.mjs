// Bundles the page into the package that serves it.
import { copyFile, mkdir } from "node:fs/promises";
import { build } from "esbuild";

const page = "../../lsp_server/web/page";
await mkdir(page, { recursive: true });
await build({
  entryPoints: ["src/main.ts", "src/main.css"],
  outdir: page,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  loader: { ".py": "text" },
  legalComments: "inline",
});
await copyFile("src/index.html", `${page}/index.html`);
