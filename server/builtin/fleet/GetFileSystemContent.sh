# shellcheck shell=sh disable=SC2154
need Path NextToken AllowTruncatedOutput
skip=$SSM_NextToken
[ "$skip" != '*' ] || skip=0
path=$SSM_Path
exists "$path" || missing "$path"
if [ -d "$path" ]; then
    if [ ! -r "$path" ] || ! cd -- "$path" 2>/dev/null; then
        fail "$path: Permission denied"
    fi
    # a pattern that nothing fits stands for itself
    set -- ..?*
    exists "$1" || shift
    set -- .[!.]* "$@"
    exists "$1" || shift
    set -- * "$@"
    exists "$1" || shift
else
    cd -- "${path%/*}/" 2>/dev/null || fail "$path: Permission denied"
    set -- "${path##*/}"
fi
[ "$skip" -le $# ] || skip=$#
shift "$skip"
# A name holds any byte but the slash, so slashes part what is told of it.
if [ $# -gt 0 ]; then printf '%s\0' "$@"; fi |
    xargs -0 stat -c /%A/%U/%G/%s/%y/%n -- 2>/dev/null |
    skip=$skip awk "$json_awk"'
        BEGIN { RS = "/"; n = -1; place = ENVIRON["skip"] + 0 }
        { field[++n] = $0 }
        n == 6 {
            n = 0
            name = field[6]
            sub(/\n$/, "", name)
            text = json(name)
            row = "{\"Name\":" text (lossy ? ",\"NameHex\":\"" hex(name) "\"" : "") ",\"Mode\":" json(field[1])
            row = row ",\"Owner\":" json(field[2]) ",\"Group\":" json(field[3]) ",\"Length\":" field[4]
            row = row ",\"LastWriteTimeUTC\":\"" substr(field[5], 1, 10) "T" substr(field[5], 12, 8) "Z\"}"
            if (!add(row, ++place))
                exit
        }
        END { finish() }'
