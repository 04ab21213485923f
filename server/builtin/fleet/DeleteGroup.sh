# shellcheck shell=sh disable=SC2154
need GroupName PerformAction
members "$SSM_GroupName" >/dev/null || fail "$SSM_GroupName: there is no such group"
perform groupdel -- "$SSM_GroupName"
row GroupName "$SSM_GroupName"
