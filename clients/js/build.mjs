// Build into the folder that is named: one readable bundle, and its types. With --size, tell what
// the bundle weighs as a browser gets it: minified and gzipped, without socket.io-client.

import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const [target] = process.argv.slice(2);
const common = {
  absWorkingDir: here,
  entryPoints: ["src/index.ts"],
  bundle: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  external: ["socket.io-client"],
};

if (target === "--size") {
  const { outputFiles } = await build({ ...common, minify: true, write: false });
  console.log(gzipSync(outputFiles[0].contents, { level: 9 }).length);
} else {
  rmSync(target, { recursive: true, force: true });
  const banner = { js: "// Built from src/ by `npm run build`: change it there." };
  await build({ ...common, banner, outfile: join(target, "fanfare.js") });
  const tsc = join(here, "node_modules", "typescript", "bin", "tsc");
  const types = ["--project", here, "--emitDeclarationOnly", "--outDir", target];
  execFileSync(process.execPath, [tsc, ...types], { stdio: "inherit" });
}
