# shellcheck shell=sh disable=SC2154
need NextToken AllowTruncatedOutput
awk -F: "$json_awk"'
    BEGIN { place = skip = ENVIRON["SSM_NextToken"] + 0 } # "*" is 0
    NF >= 4 && $1 !~ /^[#+-]/ && ++found > skip {
        n = split($4, member, ",")
        members = ""
        cut = "false"
        for (i = 1; i <= n; i++) {
            if (length(members) > 20000) {
                cut = "true"
                break
            }
            members = members (i > 1 ? "," : "") json(member[i])
        }
        if (!add("{\"Name\":" json($1) ",\"Id\":" json($3) ",\"Members\":[" members "],\"MembersTruncated\":" cut "}", ++place))
            exit
    }
    END { finish() }' /etc/group
