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

# The comment block at the head of a script is its help: on stdout if that is what the argument asks for, else
# behind a word on the argument, as a usage error. Does not return.
usage() {
    case ${2-} in
    -h | --help)
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$1"
        exit 0
        ;;
    esac
    printf '%s: %s is not known here\n\n' "$(basename "$1")" "${2-}" >&2
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
