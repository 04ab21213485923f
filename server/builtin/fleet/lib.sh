# shellcheck shell=sh disable=SC2154,SC2034
# What all AWSFleetManager documents begin with. Values come as variables, or as lists in a quoted
# here-document: nothing of them is ever read as shell. The answer is one JSON object, less than the
# 24,000 bytes of output that a node reports; bytes that are not UTF-8 stand in it as U+FFFD.
set -u
export LC_ALL=C TZ=UTC0
unset CDPATH

# json(s): a string. add(row, token): a row of this page; token is where the next page begins if
# this row is its last one. finish(): the answer.
json_awk='
function utf8(s, i, k,    low, high, n, j, b) {
    low = k == 224 ? 160 : k == 240 ? 144 : 128
    high = k == 237 ? 159 : k == 244 ? 143 : 191
    n = k < 194 || k > 244 ? 0 : k < 224 ? 2 : k < 240 ? 3 : 4
    for (j = 1; j < n; j++) {
        b = ord[substr(s, i + j, 1)]
        if (b < low || b > high)
            return 0
        low = 128; high = 191
    }
    return n
}
function json(s,    out, i, k, n, size) {
    lossy = 0
    if (s !~ /[^] !#-[^-~]/)
        return "\"" s "\""
    if (!ready) {
        for (i = 1; i < 256; i++)
            ord[sprintf("%c", i)] = i
        ready = 1
    }
    size = length(s)
    for (i = 1; i <= size; i++) {
        k = ord[substr(s, i, 1)] + 0
        n = k < 128 ? 1 : utf8(s, i, k)
        if (n == 0 || k == 0) {
            out = out "\\ufffd"
            lossy = 1
        } else if (k < 32 || k == 34 || k == 92 || k == 127)
            out = out sprintf("\\u%04x", k)
        else {
            out = out substr(s, i, n)
            i += n - 1
        }
    }
    return "\"" out "\""
}
function hex(s,    out, i) {
    for (i = 1; i <= length(s); i++)
        out = out sprintf("%02x", ord[substr(s, i, 1)])
    return out
}
function date(seconds,    day, era, left, year, month) {
    day = int(seconds / 86400)
    left = seconds - day * 86400
    day += 719468
    era = int(day / 146097)
    day -= era * 146097
    year = int((day - int(day / 1460) + int(day / 36524) - int(day / 146096)) / 365)
    day -= 365 * year + int(year / 4) - int(year / 100)
    month = int((5 * day + 2) / 153)
    return sprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", year + era * 400 + (month > 9), month + (month < 10 ? 3 : -9),
        day - int((153 * month + 2) / 5) + 1, left / 3600, left % 3600 / 60, left % 60)
}
function add(row, token) {
    if (full || bytes + length(row) > 21000) {
        full = 1
        return 0
    }
    bytes += length(row) + 1
    rows = rows (rows == "" ? "" : ",") row
    last = token
    return 1
}
function finish() {
    if (full && ENVIRON["SSM_AllowTruncatedOutput"] == "No") {
        answer("", "null", "more than one answer holds")
        exit 1
    }
    answer(rows, full ? json(last "") : "null", "")
}
function answer(list, token, error) {
    printf "{\"data\":{\"results\":[%s],\"nextToken\":%s},\"error\":%s}\n", list, token,
        error == "" ? "null" : json(error)
}
'

# fail TEXT: the answer is an error.
fail() {
    printf '%s\n' "$*" | head -c 2000 | awk "$json_awk"'
        { why = why (NR > 1 ? "\n" : "") $0 }
        END { answer("", "null", why) }'
    exit 1
}

# need NAME...: parameters, which the agent must have given as variables.
need() {
    for name; do
        eval "[ -n \"\${SSM_$name+given}\" ]" ||
            fail "the agent of this node does not hand over parameters as variables: it is too old"
    done
}

# A list out of its JSON text, behind ": ". Patterns see to it that its elements are plain words.
list() {
    sed 's/^: //' | tr -d '["] ' | tr ',' ' '
}

exists() {
    [ -e "$1" ] || [ -L "$1" ]
}

# missing PATH: fails with the reason why it cannot be found.
missing() {
    said=$(stat -- "$1" 2>&1 >/dev/null)
    said=${said##*: }
    fail "$1: ${said:-No such file or directory}"
}

# perform COMMAND...: does it, if the caller wants it done.
perform() {
    [ "$SSM_PerformAction" = Yes ] || return 0
    said=$("$@" 2>&1 </dev/null) || fail "${said:-"$1: exit status $?"}"
}

# row KEY VALUE...: one result, with whether it was performed. An Id is a number.
row() {
    awk "$json_awk"'BEGIN {
        for (i = 1; i + 1 < ARGC; i += 2)
            row = row json(ARGV[i]) ":" (ARGV[i] == "Id" ? ARGV[i + 1] : json(ARGV[i + 1])) ","
        row = "{" row "\"Performed\":" (ENVIRON["SSM_PerformAction"] == "Yes" ? "true" : "false") "}"
        answer(row, "null", "")
    }' "$@"
}
