# shellcheck shell=sh disable=SC2154
need Path NewName PerformAction
path=$SSM_Path
while [ "$path" != "${path%/}" ]; do path=${path%/}; done
[ -n "$path" ] || fail "/: cannot be renamed"
to=${path%/*}/$SSM_NewName
case $SSM_NewName in
. | .. | */*) fail "$SSM_NewName: not a name" ;;
esac
exists "$path" || missing "$path"
! exists "$to" || fail "$to: File exists"
perform mv -T -- "$path" "$to"
row Path "$path" NewPath "$to"
