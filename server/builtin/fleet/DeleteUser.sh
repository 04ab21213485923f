# shellcheck shell=sh disable=SC2154
need UserName DeleteHomeDir PerformAction
id -- "$SSM_UserName" >/dev/null 2>&1 || fail "$SSM_UserName: there is no such user"
if [ "$SSM_DeleteHomeDir" = Yes ]; then
    perform userdel -r -- "$SSM_UserName"
else
    perform userdel -- "$SSM_UserName"
fi
row UserName "$SSM_UserName"
