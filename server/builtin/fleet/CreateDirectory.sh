# shellcheck shell=sh disable=SC2154
need Path PerformAction
path=$SSM_Path
! exists "$path" || fail "$path: File exists"
perform mkdir -- "$path"
row Path "$path"
