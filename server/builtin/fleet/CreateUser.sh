# shellcheck shell=sh disable=SC2154
need UserName CreateHomeDir Description PerformAction
! id -- "$SSM_UserName" >/dev/null 2>&1 || fail "$SSM_UserName: the user exists"
home=-M
[ "$SSM_CreateHomeDir" = No ] || home=-m
perform useradd "$home" -c "$SSM_Description" -- "$SSM_UserName"
row UserName "$SSM_UserName"
