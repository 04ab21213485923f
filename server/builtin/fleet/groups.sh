# shellcheck shell=sh disable=SC2154
# members GROUP: its members, between commas; fails if there is no such group.
members() {
    group=$1 awk -F: '$1 == ENVIRON["group"] { print "," $4 ","; found = 1 } END { exit !found }' /etc/group
}
