#!/usr/bin/env bash
# Builds the extension around a wheel of the server: package.sh WHEEL VSIX
set -euo pipefail
wheel=$(realpath "$1")
vsix=$(realpath -m "$2")
cd "$(dirname "$0")/.."
[ -d node_modules ] || npm ci --ignore-scripts
staged=$(mktemp -d)
trap 'rm -rf "$staged"' EXIT
node scripts/build.mjs "$wheel" "$staged"
mkdir -p "$(dirname "$vsix")"
vsce=$PWD/node_modules/.bin/vsce
new=$(dirname "$vsix")/.new.vsix
(cd "$staged" && "$vsce" package --no-dependencies --allow-missing-repository --out "$new")
mv "$new" "$vsix"
