#!/bin/sh
# skeleton.sh WORKSPACE TARGET: the workspace's manifests, lock file and cargo's settings, with every target empty. It compiles
# to nothing but the dependencies, and changes only when they, or the list of targets, do.
set -eu
workspace=$1 target=$2
mkdir -p "$target"
target=$(cd "$target" && pwd)
cd "$workspace"

targets='.*/(src/(lib|main)\.rs|(src/bin|tests|benches|examples)/[^/]+(/main)?\.rs|build\.rs)'
find . -path ./target -prune -o -type f \( -name Cargo.toml -o -name Cargo.lock -o -path ./.cargo/config.toml \) -exec cp --parents {} "$target" \;
find . -path ./target -prune -o -type f -regextype posix-extended -regex "$targets" -print | while read -r file; do
    mkdir -p "$target/$(dirname "$file")"
    case $file in
        */lib.rs) : > "$target/$file" ;;
        *) echo 'fn main() {}' > "$target/$file" ;;
    esac
done
