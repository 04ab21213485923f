# lib.sh - what the shell scripts share. Sourced, not run.
# shellcheck shell=sh

# shellcheck disable=SC2034 # for the scripts that source this
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

# One line about what happens now, on stderr so that it never mixes with a command's output.
say() {
    printf '== %s\n' "$*" >&2
}

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Prints the comment block at the head of a script and stops with a usage error.
usage() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$1" >&2
    exit 2
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# Runs a command as root: as it is when root, else through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "this needs root and there is no sudo; run as root: $*"
    fi
}

# Cores to build with.
jobs_n() {
    n=$(nproc 2>/dev/null || echo 1)
    echo "$n"
}
