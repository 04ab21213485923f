# shellcheck shell=sh disable=SC2154
need FilePath Arguments WorkingDirectory PerformAction
program=$SSM_FilePath
exists "$program" || missing "$program"
[ -f "$program" ] || fail "$program: Not a regular file"
[ -x "$program" ] || fail "$program: Permission denied"
cd -- "$SSM_WorkingDirectory" 2>/dev/null || fail "$SSM_WorkingDirectory: No such directory"
id=null
if [ "$SSM_PerformAction" = Yes ]; then
    # Words are parted at blanks, and mean nothing else. The session is its own: it outlives the step.
    set -f
    # shellcheck disable=SC2086
    setsid env -i PATH="$PATH" HOME="${HOME:-/}" LANG="${LANG:-C}" "$program" $SSM_Arguments </dev/null >/dev/null 2>&1 &
    id=$!
fi
row FilePath "$program" Id "$id"
