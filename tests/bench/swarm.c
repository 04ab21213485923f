/* swarm.c - the swarm program: options, commands on standard input, answers in JSON.
 *
 *     swarm --url https://127.0.0.1:8443 --ca FILE --region local [--health-ms N] [--sources N]
 *
 * Credentials of an API caller come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Each line of
 * standard input is a command (table at the end); each gets one line of JSON. The end of standard
 * input ends the program. tests/bench/load.py drives it.
 *
 * One address has some 28,000 ports for connections to a plane: --sources spreads the connections
 * over so many addresses of 127/8, through a connect() of our own (mk/tests.mk, --wrap).
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include "common/aws/endpoint.h"
#include "common/base/log.h"
#include "tests/bench/swarm.h"

#define MAX_LOADS    8
#define MAX_WORDS    10
#define LINE_BYTES   4096
#define ANSWER_BYTES (4 << 20)

static struct {
    struct sw sw;
    struct sw_fleet *fleet;
    struct fl_io *input;
    char line[LINE_BYTES];
    size_t line_len;
    struct {
        char name[32];
        struct sw_load *load;
    } loads[MAX_LOADS];
} app;

static unsigned sources;

int __real_connect(int fd, const struct sockaddr *addr, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    static unsigned next;
    struct sockaddr_in from = { .sin_family = AF_INET };
    int on = 1;

    if (sources && addr->sa_family == AF_INET) {
        from.sin_addr.s_addr = htonl(0x7f010001u + next++ % sources);
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        if (bind(fd, (const struct sockaddr *)&from, sizeof(from)) < 0)
            return -1;
    }
    return __real_connect(fd, addr, len);
}

/* All nodes share one client, whose last TLS session would be everybody's. Nodes that were
 * connected for months have none that is still good: every handshake is a full one. */
int __wrap_SSL_set_session(void *ssl, void *session);
int __wrap_SSL_set_session(void *ssl, void *session)
{
    return 1;
}

/* ---- answers ---- */

#define F(member) FL_FIELD(struct sw_stats, member, #member, FL_ALWAYS)
static const struct fl_field stats_fields[] = {
    F(nodes),        F(registered),  F(online),        F(opens),        F(losses),
    F(failed_opens), F(pings),       F(health_pings),  F(jobs),         F(duplicates),
    F(cancels),      F(replies),     F(replies_acked), F(replies_sent), F(unknown_acks),
    F(calls),        F(connections),
};
#undef F
static const struct fl_shape stats_shape = FL_SHAPE(struct sw_stats, "stats", stats_fields);

static void say(const char *text, size_t len)
{
    fwrite(text, 1, len, stdout);
    putchar('\n');
    fflush(stdout);
}

static int ok(struct fl_buf *out, int r)
{
    return r < 0 ? fl_buf_printf(out, "{\"error\":\"%s\"}", strerror(-r))
                 : fl_buf_puts(out, "{\"ok\":true}");
}

static unsigned number(const char *word)
{
    return word ? (unsigned)strtoul(word, NULL, 10) : 0;
}

/* ---- commands; words[0] is the command's name, absent words are NULL ---- */

static int cmd_activation(char **words, struct fl_buf *out)
{
    if (!words[3])
        return ok(out, -EINVAL);
    return ok(out, sw_fleet_activation(app.fleet, words[1], words[2], number(words[3])));
}

static int cmd_start(char **words, struct fl_buf *out)
{
    return ok(out, sw_fleet_start(app.fleet, number(words[1]), FL_MAX(number(words[2]), 1u)));
}

static int cmd_drop(char **words, struct fl_buf *out)
{
    return fl_buf_printf(out, "{\"dropped\":%u}", sw_fleet_drop(app.fleet, number(words[1])));
}

static int cmd_ping(char **words, struct fl_buf *out)
{
    sw_fleet_ping(app.fleet, number(words[1]));
    return ok(out, 0);
}

static int cmd_mark(char **words, struct fl_buf *out)
{
    sw_fleet_mark(app.fleet);
    return ok(out, 0);
}

static int cmd_stats(char **words, struct fl_buf *out)
{
    app.sw.stats.pings = sw_fleet_pings();
    return fl_json_encode(&stats_shape, &app.sw.stats, out);
}

static int cmd_spread(char **words, struct fl_buf *out)
{
    int r = fl_buf_puts(out, "{");

    if (r == 0)
        r = sw_fleet_spread(app.fleet, out);
    if (r == 0)
        r = fl_buf_puts(out, ",\"errors\":");
    if (r == 0)
        r = sw_fleet_errors(app.fleet, out);
    return r < 0 ? r : fl_buf_puts(out, "}");
}

static int cmd_jobs(char **words, struct fl_buf *out)
{
    return ok(out, words[1] ? sw_fleet_write_jobs(app.fleet, words[1]) : -EINVAL);
}

static int find_load(const char *name)
{
    for (int i = 0; i < MAX_LOADS; i++)
        if (app.loads[i].load ? name && strcmp(app.loads[i].name, name) == 0 : !name)
            return i;
    return -1;
}

/* call NAME OPERATION RATE SECONDS CONNECTIONS [NODES FILE] */
static int cmd_call(char **words, struct fl_buf *out)
{
    struct sw_load_conf conf;
    int i = find_load(NULL), r;

    if (!words[5] || i < 0 || find_load(words[1]) >= 0)
        return ok(out, -EINVAL);
    conf = (struct sw_load_conf){ .operation = words[2],
                                  .rate = strtod(words[3], NULL),
                                  .seconds = strtod(words[4], NULL),
                                  .connections = number(words[5]),
                                  .nodes = number(words[6]),
                                  .ids_path = words[6] ? words[7] : NULL };
    if (!(conf.rate > 0) || (strcmp(conf.operation, "SendCommand") == 0 && !conf.nodes))
        return ok(out, -EINVAL);
    r = sw_load_new(&app.sw, app.fleet, &conf, &app.loads[i].load);
    snprintf(app.loads[i].name, sizeof(app.loads[i].name), "%s", words[1]);
    return ok(out, r);
}

static int cmd_stop(char **words, struct fl_buf *out)
{
    int i = words[1] ? find_load(words[1]) : -1;

    if (i >= 0)
        sw_load_stop(app.loads[i].load);
    return ok(out, i < 0 ? -ENOENT : 0);
}

static int cmd_result(char **words, struct fl_buf *out)
{
    int i = words[1] ? find_load(words[1]) : -1;

    return i < 0 ? ok(out, -ENOENT) : sw_load_report(app.loads[i].load, out);
}

static int cmd_forget(char **words, struct fl_buf *out)
{
    int i = words[1] ? find_load(words[1]) : -1;

    if (i >= 0)
        sw_load_free(FL_TAKE(app.loads[i].load));
    return ok(out, i < 0 ? -ENOENT : 0);
}

static const struct {
    const char *name; /* and what follows it */
    int (*run)(char **words, struct fl_buf *out);
} commands[] = {
    { "activation", cmd_activation }, /* ID CODE LIMIT */
    { "start", cmd_start },           /* N AT_ONCE */
    { "drop", cmd_drop },             /* N */
    { "ping", cmd_ping },             /* MS */
    { "mark", cmd_mark },             /* counts tries, opens and errors anew */
    { "spread", cmd_spread },         /* those counts */
    { "stats", cmd_stats },
    { "jobs", cmd_jobs },     /* FILE */
    { "call", cmd_call },     /* NAME OPERATION RATE SECONDS CONNECTIONS [NODES FILE] */
    { "stop", cmd_stop },     /* NAME: no further calls */
    { "result", cmd_result }, /* NAME */
    { "forget", cmd_forget }, /* NAME */
};

static void run_line(char *line)
{
    fl_autobuf struct fl_buf out = FL_BUF(ANSWER_BYTES);
    char *words[MAX_WORDS + 1] = { 0 }, *at = NULL;
    size_t n = 0, i = 0;

    for (char *w = strtok_r(line, " \t\r", &at); w && n < MAX_WORDS;
         w = strtok_r(NULL, " \t\r", &at))
        words[n++] = w;
    if (n == 0)
        return;
    while (i < FL_ARRAY_LEN(commands) && strcmp(commands[i].name, words[0]) != 0)
        i++;
    if (i < FL_ARRAY_LEN(commands))
        commands[i].run(words, &out);
    else
        ok(&out, -ENOSYS);
    say(out.data, out.len);
}

static void on_input(void *arg, unsigned events)
{
    ssize_t n = read(STDIN_FILENO, app.line + app.line_len, sizeof(app.line) - app.line_len);
    char *end;

    if (n <= 0) {
        fl_loop_stop(app.sw.loop);
        return;
    }
    app.line_len += (size_t)n;
    while ((end = memchr(app.line, '\n', app.line_len))) {
        size_t used = (size_t)(end - app.line) + 1;

        *end = '\0';
        run_line(app.line);
        app.line_len -= used;
        memmove(app.line, app.line + used, app.line_len);
    }
    if (app.line_len == sizeof(app.line))
        fl_loop_stop(app.sw.loop); /* no command is so long */
}

/* ---- start ---- */

static int start(const char *ca_file, struct fl_err *err)
{
    static const struct fl_proxy_conf no_proxy;
    const struct fl_ws_client_conf ws = { .ca_file = ca_file, .proxy = &no_proxy };
    int r = fl_loop_new(&app.sw.loop);

    if (r == 0)
        r = fl_url_authority(app.sw.url, false, app.sw.authority, sizeof(app.sw.authority));
    if (r == 0)
        r = fl_dialer_new(app.sw.loop, ca_file, &no_proxy, &app.sw.dialer, err);
    if (r == 0)
        r = fl_ws_client_new(app.sw.loop, &ws, &app.sw.ws_client, err);
    if (r == 0)
        r = sw_fleet_new(&app.sw, &app.fleet);
    if (r < 0)
        return r;
    app.input = fl_io_new(app.sw.loop, STDIN_FILENO, on_input, NULL);
    return app.input ? fl_io_set(app.input, FL_IO_READ) : -ENOMEM;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "url", required_argument, NULL, 'u' },     { "ca", required_argument, NULL, 'c' },
        { "region", required_argument, NULL, 'r' },  { "health-ms", required_argument, NULL, 'h' },
        { "sources", required_argument, NULL, 's' }, { 0 },
    };
    struct rlimit files;
    struct fl_err err = { 0 };
    const char *ca_file = NULL;
    int opt;

    app.sw.region = "local";
    app.sw.health_ms = 300000;
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (opt) {
        case 'u':
            app.sw.url = optarg;
            break;
        case 'c':
            ca_file = optarg;
            break;
        case 'r':
            app.sw.region = optarg;
            break;
        case 'h':
            app.sw.health_ms = strtol(optarg, NULL, 10);
            break;
        case 's':
            sources = number(optarg);
            break;
        default:
            return 2;
        }
    }
    app.sw.admin =
        (struct fl_aws_creds){ getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY"), NULL };
    if (!app.sw.url || !ca_file || !app.sw.admin.access_key_id || !app.sw.admin.secret_access_key) {
        fprintf(stderr, "usage: AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… swarm --url URL --ca "
                        "FILE [--region R] [--health-ms N] [--sources N]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    fl_log_setup(FL_LOG_ERROR, FL_LOG_TEXT, "swarm");
    if (start(ca_file, &err) < 0) {
        fprintf(stderr, "swarm: %s\n", fl_err_text(&err));
        return 1;
    }
    fl_loop_run(app.sw.loop);
    return 0; /* what thousands of nodes hold, the kernel takes back */
}
