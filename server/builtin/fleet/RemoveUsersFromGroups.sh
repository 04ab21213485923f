# shellcheck shell=sh disable=SC2154
for group in $groups; do
    for user in $users; do
        case $(members "$group") in
        *,"$user",*) perform gpasswd -d "$user" "$group" ;;
        esac
    done
done
row Users "$users" Groups "$groups"
