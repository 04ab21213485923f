# shellcheck shell=sh disable=SC2154
need NextToken AllowTruncatedOutput
# Pages go by process ids, so that what comes and goes meanwhile moves nothing else.
ticks=$(getconf CLK_TCK 2>/dev/null) || ticks=100
printf '%s\n' /proc/[1-9]* | sed 's,^/proc/,,' | sort -n | ticks=$ticks awk "$json_awk"'
    function read_line(path,    line) {
        line = ""
        if ((getline line < path) <= 0) line = ""
        close(path)
        return line
    }
    BEGIN {
        after = ENVIRON["SSM_NextToken"] + 0 # "*" is 0
        ticks = ENVIRON["ticks"]
        while ((getline line < "/etc/passwd") > 0) {
            split(line, part, ":")
            if (!(part[3] in user)) user[part[3]] = part[1]
        }
        split(read_line("/proc/uptime"), part, " ")
        uptime = part[1]
        while ((getline line < "/proc/stat") > 0)
            if (line ~ /^btime /) boot = substr(line, 7)
        while ((getline line < "/proc/meminfo") > 0)
            if (line ~ /^MemTotal:/) { split(line, part, " "); memory = part[2] }
    }
    $1 + 0 > after {
        folder = "/proc/" $1 "/"
        stat = read_line(folder "stat")
        if (stat == "") next # it has ended
        # the name stands in parentheses and may hold some
        head = stat
        sub(/\)[^)]*$/, "", head)
        name = substr(head, index(head, "(") + 1)
        split(substr(stat, length(head) + 3), n, " ")
        resident = 0
        uid = ""
        while ((getline line < (folder "status")) > 0) {
            split(line, part, " ")
            if (part[1] == "Uid:") uid = part[3]
            if (part[1] == "VmRSS:") resident = part[2]
        }
        close(folder "status")
        command = ""
        while (length(command) < 1000 && (getline line < (folder "cmdline")) > 0)
            command = command (command == "" ? "" : "\n") line
        close(folder "cmdline")
        gsub(/\000/, " ", command)
        sub(/ +$/, "", command)
        if (command == "") command = "[" name "]"
        used = (n[12] + n[13]) / ticks
        age = uptime - n[20] / ticks
        row = "{\"Id\":" $1 ",\"ParentId\":" n[2] ",\"Name\":" json(name) ",\"User\":" json(uid in user ? user[uid] : uid)
        row = row ",\"State\":\"" n[1] "\",\"Threads\":" n[18] ",\"CpuSeconds\":" sprintf("%.2f", used)
        row = row ",\"CpuPercent\":" sprintf("%.1f", age > 0 ? 100 * used / age : 0)
        row = row ",\"MemoryPercent\":" sprintf("%.1f", memory > 0 ? 100 * resident / memory : 0)
        row = row ",\"WorkingSet\":" sprintf("%.0f", resident * 1024)
        row = row ",\"StartTimeUTC\":\"" date(int(boot + n[20] / ticks)) "\",\"CommandLine\":" json(substr(command, 1, 1000)) "}"
        if (!add(row, $1)) exit
    }
    END { finish() }'
