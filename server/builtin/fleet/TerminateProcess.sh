# shellcheck shell=sh disable=SC2154
need Signal PerformAction
ids=$(
    list <<'END'
: {{ ProcessIds }}
END
)
signal=$SSM_Signal
[ "$SSM_PerformAction" = Yes ] || signal=0
set -f
for id in $ids; do
    name=
    read -r name 2>/dev/null <"/proc/$id/comm"
    said=$(kill -s "$signal" "$id" 2>&1)
    # "sh: 3: kill: No such process" and the like: the reason comes last
    printf '%s\n%s\n%s\n' "$id" "$(printf %s "$name" | tr '\n' ' ')" "$(printf %s "${said##*: }" | tr '\n' ' ')"
done | awk "$json_awk"'
    NR % 3 == 1 { id = $0 }
    NR % 3 == 2 { name = $0 }
    NR % 3 == 0 {
        done = $0 == "" && ENVIRON["SSM_PerformAction"] == "Yes"
        if ($0 != "") error = error (error == "" ? "" : "; ") id ": " $0
        add("{\"Id\":" id ",\"Name\":" json(name) ",\"Performed\":" (done ? "true" : "false") \
            ",\"Error\":" ($0 == "" ? "null" : json($0)) "}")
    }
    END {
        answer(rows, "null", error)
        exit error != ""
    }'
