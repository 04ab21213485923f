# shellcheck shell=sh disable=SC2154
need Path Recursive PerformAction
path=$SSM_Path
exists "$path" || missing "$path"
if [ -d "$path" ] && [ ! -L "$path" ]; then
    [ "$(stat -c %d:%i -- "$path")" != "$(stat -c %d:%i /)" ] || fail "$path: is the root directory"
    if [ "$SSM_Recursive" = Yes ]; then
        perform rm -r -f -- "$path"
    else
        (
            cd -- "$path" && set -- * .[!.]* ..?*
            for name; do ! exists "$name" || exit 1; done
        ) || fail "$path: Directory not empty"
        perform rmdir -- "$path"
    fi
else
    perform rm -f -- "$path"
fi
row Path "$path"
