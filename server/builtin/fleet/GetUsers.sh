# shellcheck shell=sh disable=SC2154
need NextToken AllowTruncatedOutput
awk -F: "$json_awk"'
    BEGIN { place = skip = ENVIRON["SSM_NextToken"] + 0 } # "*" is 0
    NF >= 7 && $1 !~ /^[#+-]/ && ++found > skip {
        if (!add("{\"Name\":" json($1) ",\"Id\":" json($3) ",\"GroupId\":" json($4) ",\"Description\":" json(substr($5, 1, 1000)) \
                 ",\"HomeDirectory\":" json($6) ",\"Shell\":" json($7) "}", ++place))
            exit
    }
    END { finish() }' /etc/passwd
