/* status.c - `fairlead-agent status [--json]`: how this node is, in plain words.
 *
 * Exit status: 0 online, 1 not registered, 3 not running, 4 offline.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "agent/cli/cli.h"
#include "agent/lib/agent_status.h"
#include "agent/lib/platform.h"
#include "agent/lib/vault.h"
#include "common/base/clock.h"
#include "common/base/file.h"

#define SYSTEM_SOCKET "/run/fairlead/" FL_STATUS_SOCKET
#define TIMEOUT_S     5

enum { EXIT_ONLINE = 0, EXIT_NOT_REGISTERED = 1, EXIT_NOT_RUNNING = 3, EXIT_OFFLINE = 4 };

/* The agent's answer, or negative errno. */
static int ask(const char *runtime, char **ret_text, size_t *ret_len)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    struct timeval timeout = { .tv_sec = TIMEOUT_S };
    fl_autofd int dir_fd = open(runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fl_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (dir_fd < 0 || fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/" FL_STATUS_SOCKET, dir_fd);
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        return -errno;
    return fl_fd_read_all(fd, FL_STATUS_MAX_BYTES, ret_text, ret_len);
}

/* "2 h 5 min" */
static void print_age(const char *since)
{
    int64_t ms, s;

    if (!since || fl_time_parse_iso(since, &ms) < 0)
        return;
    s = FL_MAX((fl_now_ms() - ms) / 1000, (int64_t)0);
    if (s >= 86400)
        printf(" (%lld d %lld h)", (long long)(s / 86400), (long long)(s / 3600 % 24));
    else if (s >= 3600)
        printf(" (%lld h %lld min)", (long long)(s / 3600), (long long)(s / 60 % 60));
    else if (s >= 60)
        printf(" (%lld min)", (long long)(s / 60));
    else
        printf(" (%lld s)", (long long)s);
}

static void print_line(const char *what, const char *value)
{
    if (value)
        printf("%-13s%s\n", what, value);
}

static void print_status(const struct fl_agent_status *s)
{
    printf("%-13syes, %s in %s\n", "Registered:", s->node_id, s->region);
    printf("%-13s%s since %s", "State:", s->online ? "online" : "offline",
           s->since ? s->since : "?");
    print_age(s->since);
    putchar('\n');
    print_line("Last ping:", s->last_ping);
    if (s->last_error)
        printf("%-13s%s (%s)\n", "Last error:", s->last_error,
               s->last_error_at ? s->last_error_at : "?");
    print_line("Credentials:", s->credentials_until ? NULL : "none yet");
    if (s->credentials_until)
        printf("%-13svalid until %s\n", "Credentials:", s->credentials_until);
    print_line("", s->credentials_error);
    print_line("Policy:", s->policy);
    if (s->n_documents == 0)
        print_line("Documents:", "none running");
    for (size_t i = 0; i < s->n_documents; i++)
        printf("%-13s%s %s %s since %s\n", i ? "" : "Documents:", s->documents[i].state,
               s->documents[i].document_name, s->documents[i].command_id,
               s->documents[i].accepted_at);
    for (size_t i = 0; i < s->n_sessions; i++)
        printf("%-13s%s %s %s of %s since %s\n", i ? "" : "Sessions:", s->sessions[i].state,
               s->sessions[i].document_name, s->sessions[i].session_id, s->sessions[i].owner,
               s->sessions[i].since);
    if (s->unacknowledged_replies > 0)
        printf("%-13s%lld not acknowledged yet\n",
               "Replies:", (long long)s->unacknowledged_replies);
    printf("%-13s%s (reports itself as %s), process %lld\n", "Agent:", s->version, s->wire_version,
           (long long)s->pid);
}

/* Nobody answers: the registration on disk is all there is to tell. */
static int not_running(const struct fl_cli *cli, const struct fl_paths *paths, int why)
{
    struct fl_agent_status status = { 0 };
    struct fl_registration reg = { 0 };
    fl_autobuf struct fl_buf json = FL_BUF(FL_STATUS_MAX_BYTES);
    fl_autoarena struct fl_arena arena = FL_ARENA(FL_STATUS_MAX_BYTES);
    struct fl_err err = { 0 };
    int r;
    r = fl_vault_load(paths->state, false, &arena, &reg, &err);
    status.registered = r == 0 && reg.node_id;
    status.node_id = reg.node_id;
    status.region = reg.region;
    status.version = fl_arena_strdup(&arena, FL_VERSION);
    status.wire_version = fl_arena_strdup(&arena, FL_AGENT_WIRE_VERSION);
    status.last_error = fl_arena_strdup(&arena, r < 0 ? fl_err_text(&err) : "not running");

    if (cli->json) {
        if (fl_json_encode(&fl_shape_agent_status, &status, &json) == 0)
            puts(json.data);
    } else if (status.registered) {
        printf("%-13syes, %s in %s\n", "Registered:", reg.node_id, reg.region ? reg.region : "?");
        print_line("State:", "not running");
    } else {
        print_line("Registered:", r < 0 ? fl_err_text(&err) : "no");
        print_line("State:", "not running");
        puts("Register with: fairlead-agent -register -id <activation id> -code <activation code> "
             "-region <region>");
    }
    if (why == -EACCES)
        fprintf(stderr, "The agent's socket may not be opened by this user; try as root.\n");
    else if (geteuid() != 0 && access(SYSTEM_SOCKET, F_OK) == 0)
        fprintf(stderr, "An agent for the whole machine runs here; ask about it as root.\n");
    return status.registered ? EXIT_NOT_RUNNING : EXIT_NOT_REGISTERED;
}

int fl_cli_status(const struct fl_cli *cli, const struct fl_paths *paths)
{
    fl_autofree char *text = NULL;
    struct fl_agent_status status;
    fl_autoarena struct fl_arena arena = FL_ARENA(4 * FL_STATUS_MAX_BYTES);
    struct fl_err err = { 0 };
    size_t len = 0;
    int r = ask(paths->runtime, &text, &len);
    if (r < 0)
        return not_running(cli, paths, r);
    r = fl_json_decode(&fl_shape_agent_status, text, len, 0, &arena, &status, &err);
    if (r < 0) {
        fprintf(stderr, "fairlead-agent: the agent's answer makes no sense: %s\n",
                fl_err_text(&err));
        return EXIT_NOT_RUNNING;
    }
    if (cli->json)
        fwrite(text, 1, len, stdout);
    else
        print_status(&status);
    return status.online ? EXIT_ONLINE : EXIT_OFFLINE;
}
