# shellcheck shell=sh disable=SC2154
for user in $users; do
    perform usermod -a -G "$(printf %s "$groups" | tr ' ' ,)" -- "$user"
done
row Users "$users" Groups "$groups"
