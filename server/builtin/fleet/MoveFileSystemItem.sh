# shellcheck shell=sh disable=SC2154
need SourcePath DestinationPath PerformAction
from=$SSM_SourcePath
to=$SSM_DestinationPath
exists "$from" || missing "$from"
! exists "$to" || fail "$to: File exists"
perform mv -T -- "$from" "$to"
row SourcePath "$from" DestinationPath "$to"
