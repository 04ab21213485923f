# shellcheck shell=sh disable=SC2154
need GroupName PerformAction
! members "$SSM_GroupName" >/dev/null || fail "$SSM_GroupName: the group exists"
perform groupadd -- "$SSM_GroupName"
row GroupName "$SSM_GroupName"
