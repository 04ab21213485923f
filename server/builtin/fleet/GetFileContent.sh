# shellcheck shell=sh disable=SC2154
need Path NextToken
path=$SSM_Path
exists "$path" || missing "$path"
[ ! -d "$path" ] || fail "$path: Is a directory"
[ -f "$path" ] || fail "$path: Not a regular file"
[ -r "$path" ] || fail "$path: Permission denied"
about=$(stat -L -c '%s %i' -- "$path" 2>/dev/null) || fail "$path: No such file or directory"
size=${about% *}
at=${SSM_NextToken#-}
case $at in
'*') at=0 ;;
'' | *[!0-9]*) fail "NextToken: not a position" ;;
esac
# Below zero it counts from the end.
case $SSM_NextToken in
-*) at=$((at < size ? size - at : 0)) ;;
esac
content=$(tail -c "+$((at + 1))" -- "$path" 2>/dev/null | head -c 16384 | base64 | tr -d '\n')
length=$((${#content} * 3 / 4))
case $content in
*==) length=$((length - 2)) ;;
*=) length=$((length - 1)) ;;
esac
next=null
[ "$length" -eq 0 ] || [ $((at + length)) -ge "$size" ] || next="\"$((at + length))\""
printf '{"data":{"results":[{"Offset":%s,"Length":%s,"Size":%s,"Inode":%s,"Encoding":"base64","Content":"%s"}]' \
    "$at" "$length" "$size" "${about#* }" "$content"
printf ',"nextToken":%s},"error":null}\n' "$next"
