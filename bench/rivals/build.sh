#!/usr/bin/env bash
# The benches' rival: llama.cpp's own programs, from the sources that llama-cpp-python carries.
#
#   bash bench/rivals/build.sh PYTHON FOLDER      (make rivals)
#
# The version is the one in constraints.txt, and the options are those that pip compiles the package
# with (Release, native instructions, OpenMP, shared libraries, no curl), so that both sides of a
# comparison run the same kernels. The programs are then in FOLDER/bin. Runs at low priority; what
# is built already is not built again.
set -euo pipefail

python=$1
folder=$2
programs="llama-server llama-bench llama-quantize llama-imatrix"
version=$(sed -n 's/^llama_cpp_python==//p' constraints.txt)
sources=$folder/llama.cpp

if [ "$(cat "$folder/version" 2>/dev/null)" = "$version" ]; then
    echo "llama.cpp of llama-cpp-python $version is built: $folder/bin"
    exit 0
fi

if [ "$(cat "$folder/sources-version" 2>/dev/null)" != "$version" ]; then
    rm -rf "$folder"
    mkdir -p "$folder/sdist"
    echo "Fetching the sources of llama-cpp-python $version (77 MB)."
    "$python" -m pip --disable-pip-version-check download --quiet --no-deps \
        --no-binary llama-cpp-python --dest "$folder/sdist" "llama-cpp-python==$version"
    tar -xzf "$folder"/sdist/llama_cpp_python-*.tar.gz -C "$folder/sdist"
    mv "$folder"/sdist/*/vendor/llama.cpp "$sources"
    rm -rf "$folder/sdist"
    echo "$version" >"$folder/sources-version"
fi

if ! command -v cmake >/dev/null; then
    "$python" -m pip --disable-pip-version-check install --quiet --constraint constraints.txt cmake
    PATH="$(dirname "$python"):$PATH"
fi
echo "Compiling $programs at low priority: some ten minutes on two cores."
cmake -S "$sources" -B "$folder" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF \
    -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF >"$folder/configure.log" 2>&1 ||
    { tail -20 "$folder/configure.log"; exit 1; }
nice -n 10 cmake --build "$folder" --target $programs --parallel 2 >"$folder/build.log" 2>&1 ||
    { grep -m5 -E "error|Error" "$folder/build.log"; echo "The whole log: $folder/build.log"; exit 1; }
echo "$version" >"$folder/version"
echo "Built: $folder/bin"
