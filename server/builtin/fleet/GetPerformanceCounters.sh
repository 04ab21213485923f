# shellcheck shell=sh disable=SC2154
need SampleSeconds
sample() {
    echo '@ time'
    cat /proc/uptime
    echo '@ cpu'
    grep '^cpu' /proc/stat
    echo '@ disk'
    cat /proc/diskstats 2>/dev/null
    echo '@ net'
    cat /proc/net/dev
}
# Rates are those between two samples.
{
    sample
    sleep "$SSM_SampleSeconds"
    sample
    echo '@ memory'
    cat /proc/meminfo
    echo '@ load'
    cat /proc/loadavg
} | awk "$json_awk"'
    function put(category, instance, counter, value, form) {
        add("{\"Category\":\"" category "\",\"Instance\":" json(instance) ",\"Counter\":\"" counter "\",\"Value\":" \
            sprintf(form ? form : "%.1f", value < 0 ? 0 : value) "}")
    }
    function percent(part, whole) { return whole > 0 ? 100 * part / whole : 0 }
    # the growth since the first sample
    function since(key, value,    grown) {
        grown = key in first ? value - first[key] : 0
        first[key] = value
        return grown
    }
    function rate(key, value,    grown) {
        grown = since(key, value)
        return seconds > 0 ? grown / seconds : 0
    }
    $1 == "@" { part = $2; next }
    part == "time" { seconds = since("uptime", $1); uptime = $1 }
    part == "cpu" {
        idle = since($1 " idle", $5 + $6)
        total = since($1 " total", $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9)
        busy[$1] = percent(total - idle, total)
        user = since($1 " user", $2 + $3)
        kernel = since($1 " kernel", $4 + $7 + $8)
        wait = since($1 " wait", $6)
        stolen = since($1 " stolen", $9)
        if ($1 == "cpu") {
            user_percent = percent(user, total); kernel_percent = percent(kernel, total)
            wait_percent = percent(wait, total); stolen_percent = percent(stolen, total)
        } else if (!($1 in listed)) { listed[$1] = 1; core[++cores] = $1 }
    }
    part == "disk" && $3 !~ /^(loop|ram|zram|fd|sr)[0-9]/ {
        name = $3
        gsub("/", "!", name)
        # partitions are parts of what is counted already
        if (!($3 in whole)) {
            whole[$3] = (getline line < ("/sys/block/" name "/stat")) > 0
            close("/sys/block/" name "/stat")
        }
        if (whole[$3]) {
            if (!($3 in reads)) disk[++disks] = $3
            reads[$3] = rate("read " $3, $6 * 512)
            writes[$3] = rate("write " $3, $10 * 512)
            active[$3] = percent(rate("busy " $3, $13), 1000)
        }
    }
    part == "net" && index($0, ":") {
        name = $0
        sub(/:[^:]*$/, "", name)
        sub(/^ */, "", name)
        values = $0
        sub(/^.*:/, "", values)
        split(values, n, " ")
        if (name != "lo") {
            if (!(name in in_rate)) net[++nets] = name
            in_rate[name] = rate("in " name, n[1])
            out_rate[name] = rate("out " name, n[9])
        }
    }
    part == "memory" { memory[$1] = $2 * 1024 }
    part == "load" { split($0, load, " "); split(load[4], running, "/") }
    END {
        put("System", "", "UptimeSeconds", uptime, "%.0f")
        put("System", "", "CpuCount", cores, "%.0f")
        put("System", "", "Load1", load[1], "%.2f")
        put("System", "", "Load5", load[2], "%.2f")
        put("System", "", "Load15", load[3], "%.2f")
        put("System", "", "Threads", running[2], "%.0f")
        put("Cpu", "_Total", "BusyPercent", busy["cpu"])
        put("Cpu", "_Total", "UserPercent", user_percent)
        put("Cpu", "_Total", "SystemPercent", kernel_percent)
        put("Cpu", "_Total", "WaitPercent", wait_percent)
        put("Cpu", "_Total", "StolenPercent", stolen_percent)
        put("Memory", "", "TotalBytes", memory["MemTotal:"], "%.0f")
        put("Memory", "", "AvailableBytes", memory["MemAvailable:"], "%.0f")
        put("Memory", "", "CachedBytes", memory["Cached:"] + memory["Buffers:"], "%.0f")
        put("Memory", "", "SwapTotalBytes", memory["SwapTotal:"], "%.0f")
        put("Memory", "", "SwapFreeBytes", memory["SwapFree:"], "%.0f")
        for (i = 1; i <= disks; i++) {
            put("Disk", disk[i], "ReadBytesPerSecond", reads[disk[i]], "%.0f")
            put("Disk", disk[i], "WriteBytesPerSecond", writes[disk[i]], "%.0f")
            put("Disk", disk[i], "BusyPercent", active[disk[i]] > 100 ? 100 : active[disk[i]])
        }
        for (i = 1; i <= nets; i++) {
            put("Network", net[i], "ReceivedBytesPerSecond", in_rate[net[i]], "%.0f")
            put("Network", net[i], "SentBytesPerSecond", out_rate[net[i]], "%.0f")
        }
        for (i = 1; i <= cores; i++)
            put("Cpu", core[i], "BusyPercent", busy[core[i]])
        full = 0 # there is no next page of a moment that has passed
        finish()
    }'
