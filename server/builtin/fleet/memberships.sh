# shellcheck shell=sh disable=SC2154
need PerformAction
users=$(
    list <<'END'
: {{ Users }}
END
)
groups=$(
    list <<'END'
: {{ Groups }}
END
)
set -f
# All of it is looked at before anything is done.
for user in $users; do
    id -- "$user" >/dev/null 2>&1 || fail "$user: there is no such user"
done
for group in $groups; do
    members "$group" >/dev/null || fail "$group: there is no such group"
done
