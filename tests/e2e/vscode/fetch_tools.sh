#!/usr/bin/env bash
# Fetches what the tests of the VS Code extension need, once: code-server (the real workbench of VS Code
# and its extension host) from npm, Chromium from Debian's packages, the extension's own build tools.
#
#     fetch_tools.sh FOLDER     FOLDER/complete is written when all is there
#
# Versions: package-lock.json beside this file and in editors/vscode; Node in constraints.txt.
set -euo pipefail
mkdir -p "$1"
folder=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
wanted=$(cat "$here/package-lock.json" "$0" "$here/../../../editors/vscode/package-lock.json" | cksum)
if [ "$(cat "$folder/complete" 2>/dev/null)" = "$wanted" ]; then exit 0; fi

if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "There is no Chromium: install it (Debian: apt install chromium)." >&2
        exit 1
    fi
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core
fi

npm --prefix "$here/../../../editors/vscode" ci --ignore-scripts --no-audit --no-fund
rm -rf "$folder/complete" "$folder/node_modules"
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$folder"
# Nothing has to be compiled: the native parts come ready-made, so no package's script is run.
npm --prefix "$folder" ci --ignore-scripts --no-audit --no-fund
cd "$folder/node_modules/code-server/lib/vscode"
# Not `npm ci`: the lock that is shipped there is not in step with its package.json.
npm install --omit=dev --ignore-scripts --no-audit --no-fund --no-package-lock
# Half of the folder is for chat and for searching in files.
rm -rf node_modules/@github/copilot-sdk* node_modules/@microsoft/mxc-sdk \
    node_modules/@vscode/ripgrep-universal extensions/copilot
printf '%s\n' "$wanted" > "$folder/complete"
