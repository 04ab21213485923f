# shellcheck shell=sh disable=SC2154
need AllowTruncatedOutput
# Sizes of network file systems are not asked for: a server that is gone would hold the answer up.
awk "$json_awk"'
    function unescape(s,    out, code) {
        while (match(s, /\\[0-7][0-7][0-7]/)) {
            code = substr(s, RSTART + 1, 1) * 64 + substr(s, RSTART + 2, 1) * 8 + substr(s, RSTART + 3, 1)
            out = out substr(s, 1, RSTART - 1) sprintf("%c", code)
            s = substr(s, RSTART + 4)
        }
        return out s
    }
    BEGIN { split("proc sysfs devtmpfs devpts cgroup cgroup2 mqueue securityfs debugfs tracefs pstore bpf " \
                  "configfs fusectl hugetlbfs autofs binfmt_misc rpc_pipefs nsfs efivarfs", skipped, " ")
            for (i in skipped) skip[skipped[i]] = 1
            split("nfs nfs4 cifs smb3 9p ceph afs fuse.sshfs fuse.glusterfs", far, " ")
            for (i in far) remote[far[i]] = 1 }
    {
        for (i = 7; i < NF && $i != "-"; i++) continue
        type = $(i + 1)
        device = unescape($(i + 2))
        place = unescape($5)
        # one of the places where a file system is mounted will do
        if (type in skip || $3 in seen) next
        seen[$3] = 1
        row = "{\"Name\":" json(device) ",\"MountPoint\":" json(place) ",\"FileSystem\":" json(type)
        if (!(type in remote)) {
            quoted = place
            gsub(/\047/, "\047\\\047\047", quoted)
            command = "stat -f -c \"%S %b %f %a\" -- \047" quoted "\047 2>/dev/null"
            got = (command | getline line)
            close(command)
            if (got <= 0 || split(line, n, " ") != 4 || n[2] == 0) next
            row = row sprintf(",\"Size\":%.0f,\"Used\":%.0f,\"Available\":%.0f", n[1] * n[2], n[1] * (n[2] - n[3]), n[1] * n[4])
        }
        # what is mounted later on the same place hides what was there
        if (!(place in found)) order[++mounts] = place
        found[place] = row "}"
    }
    END {
        for (i = 1; i <= mounts; i++)
            add(found[order[i]], i)
        finish()
    }' /proc/self/mountinfo
