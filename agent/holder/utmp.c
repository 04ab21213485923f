/* utmp.c - see utmp.h. */
#include "agent/holder/utmp.h"
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <utmpx.h>
#include "common/base/util.h"

#define DEV "/dev/"

/* Their fields need no NUL at the end. */
static void put(char *field, size_t size, const char *text)
{
    memcpy(field, text, strnlen(text, size));
}

static void write_entry(const struct fl_utmp *u, short type, const char *user, const char *from,
                        const char *wtmp)
{
    struct utmpx e = { .ut_type = type, .ut_pid = u->pid };
    size_t len = strlen(u->line);
    struct timeval now;

    gettimeofday(&now, NULL);
    e.ut_tv.tv_sec = (int32_t)now.tv_sec;
    e.ut_tv.tv_usec = (int32_t)now.tv_usec;
    put(e.ut_line, sizeof(e.ut_line), u->line);
    put(e.ut_id, sizeof(e.ut_id),
        u->line + (len > sizeof(e.ut_id) ? len - sizeof(e.ut_id) : 0)); /* as login(3) has it */
    put(e.ut_user, sizeof(e.ut_user), user);
    put(e.ut_host, sizeof(e.ut_host), from);
    setutxent();
    pututxline(&e);
    endutxent();
    updwtmpx(wtmp ? wtmp : WTMPX_FILE, &e);
}

void fl_utmp_begin(struct fl_utmp *u, const char *tty, pid_t pid, const char *user,
                   const char *from, const char *wtmp)
{
    if (strncmp(tty, DEV, strlen(DEV)) != 0 || strlen(tty) >= sizeof(u->line) + strlen(DEV))
        return;
    snprintf(u->line, sizeof(u->line), "%s", tty + strlen(DEV));
    u->pid = pid;
    write_entry(u, USER_PROCESS, user, from, wtmp);
}

void fl_utmp_end(struct fl_utmp *u, const char *wtmp)
{
    if (u->line[0])
        write_entry(u, DEAD_PROCESS, "", "", wtmp);
    u->line[0] = '\0';
}
