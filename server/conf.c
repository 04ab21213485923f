/* conf.c - reading and checking server.json. */
#include "server/conf.h"

#include <errno.h>
#include <jansson.h>
#include <netdb.h>
#include <string.h>
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/codec/json_load.h"
#include "server/auth/match.h"
#include "server/pattern.h"
#include "server/session/alarm.h"

#define NODE_TOKEN_DEFAULT_S 3600
#define PORT_DEFAULT         8443

/* Of all loop threads together; the other limits have theirs in common/net/server.c. */
#define MAX_CONNECTIONS_DEFAULT 65536
#define MAX_GUESTS_DEFAULT      2048

#define OBJECTS_MAX_BYTES_DEFAULT (10ll << 30)
#define OBJECTS_MAX_FILES_DEFAULT 1000000
#define OBJECT_MAX_BYTES_DEFAULT  (5ll << 30)
#define LOGS_MAX_BYTES_DEFAULT    (1ll << 30)

#define SESSIONS_MAX_DEFAULT               5000
#define SESSIONS_MAX_PER_NODE_DEFAULT      250
#define SESSIONS_MAX_PER_OWNER_DEFAULT     1000
#define SESSION_IDLE_MINUTES_DEFAULT       20
#define SESSION_LOST_S_MIN                 10 /* an agent sees a lost connection after FL_DATA_QUIET_MS */
#define SESSION_LOST_S_DEFAULT             12
#define TRANSCRIPT_DAYS_DEFAULT            365
#define TRANSCRIPT_MAX_BYTES_DEFAULT       (64ll << 20)
#define TRANSCRIPTS_MAX_BYTES_DEFAULT      (10ll << 30)
#define TRANSCRIPT_INDEX_MAX_BYTES_DEFAULT (2ll << 30)

static const char *const levels[] = { "error", "warn", "info", "debug", NULL };
static const char *const formats[] = { "text", "json", NULL };

static const char *const transcripts[] = { "on", "off", "required", NULL };

#define A(member, key, flags, ...) \
    FL_FIELD(struct fl_conf_alarm, member, key, flags __VA_OPT__(, ) __VA_ARGS__)
static const struct fl_field alarm_fields[] = {
    A(name, "Name", FL_REQUIRED, .limits = { .pattern = "[A-Za-z0-9_.-]{1,64}" }),
    A(pattern, "Pattern", FL_REQUIRED, .limits = { .min = 1, .max = 1024 }),
    A(end, "End", 0),
};
#undef A
static const struct fl_shape alarm_shape =
    FL_SHAPE(struct fl_conf_alarm, "SessionAlarms", alarm_fields);

#define F(member, key, flags, ...) \
    FL_FIELD(struct fl_conf, member, key, flags __VA_OPT__(, ) __VA_ARGS__)
static const struct fl_field conf_fields[] = {
    F(account, "Account", FL_REQUIRED, .limits = { .pattern = "[0-9]{12}" }),
    F(region, "Region", 0, .limits = { .pattern = "[A-Za-z0-9-]{1,100}" }),
    F(bind, "Bind", 0, .limits = { .min = 1, .max = 255 }),
    F(port, "Port", 0, .limits = { .min = 0, .max = 65535 }),
    F(public_host, "PublicHost", 0, .limits = { .pattern = "[A-Za-z0-9.:*-]{1,253}" }),
    F(hosts, "Hosts", 0, .limits = { .max = 64 }, .elem = { .pattern = "[A-Za-z0-9.:*-]{1,253}" }),
    F(loops, "Loops", 0, .limits = { .min = 0, .max = 64 }),
    F(readers, "Readers", 0, .limits = { .min = 1, .max = 64 }),
    F(node_token_s, "NodeTokenSeconds", 0, .limits = { .min = 900, .max = 43200 }),
    F(metrics_from, "MetricsFrom", 0, .limits = { .max = 64 }, .elem = { .min = 1, .max = 64 }),
    F(max_connections, "MaxConnections", 0, .limits = { .min = 16, .max = 1 << 24 }),
    F(max_guests, "MaxUnauthenticated", 0, .limits = { .min = 4, .max = 1 << 20 }),
    F(max_guests_per_address, "MaxUnauthenticatedPerAddress", 0,
      .limits = { .min = 1, .max = 1 << 20 }),
    F(header_s, "HeaderSeconds", 0, .limits = { .min = 1, .max = 600 }),
    F(idle_s, "IdleSeconds", 0, .limits = { .min = 1, .max = 3600 }),
    F(min_bytes_per_s, "MinBytesPerSecond", 0, .limits = { .min = 1, .max = 1 << 20 }),
    /* AWS takes parameters and documents of 64 KiB; results come over WebSockets */
    F(max_body_bytes, "MaxBodyBytes", 0, .limits = { .min = 256 * 1024, .max = 16 * 1024 * 1024 }),
    F(max_header_bytes, "MaxHeaderBytes", 0, .limits = { .min = 8 * 1024, .max = 64 * 1024 }),
    F(objects_max_bytes, "ObjectsMaxBytes", 0, .limits = { .min = 0, .max = 1ll << 60 }),
    F(objects_max_files, "ObjectsMaxFiles", 0, .limits = { .min = 0, .max = 1ll << 40 }),
    F(object_max_bytes, "ObjectMaxBytes", 0, .limits = { .min = 1024, .max = 1ll << 50 }),
    F(bucket_days, "BucketDays", 0, .limits = { .max = 1000 }, .elem = { .min = 1, .max = 36500 }),
    F(output_buckets_elsewhere, "OutputBucketsElsewhere", 0),
    F(logs_max_bytes, "LogsMaxBytes", 0, .limits = { .min = 0, .max = 1ll << 50 }),
    F(transcripts, "Transcripts", 0, .limits = { .enums = transcripts }),
    F(transcript_input, "TranscriptInput", 0),
    F(transcript_days, "TranscriptDays", 0, .limits = { .min = 1, .max = 36500 }),
    F(transcript_max_bytes, "TranscriptMaxBytes", 0, .limits = { .min = 1024, .max = 1ll << 36 }),
    F(transcripts_max_bytes, "TranscriptsMaxBytes", 0,
      .limits = { .min = 1 << 20, .max = 1ll << 50 }),
    F(transcript_index_max_bytes, "TranscriptIndexMaxBytes", 0,
      .limits = { .min = 0, .max = 1ll << 50 }),
    FL_FIELD_LIST(struct fl_conf, alarms, n_alarms, "SessionAlarms", 0, &alarm_shape,
                  .limits = { .max = FL_ALARMS_MAX }),
    F(silent_s, "SilentNodeSeconds", 0, .limits = { .min = 3, .max = 3600 }),
    F(sessions_max, "SessionsMax", 0, .limits = { .min = 0, .max = 1 << 20 }),
    F(sessions_max_per_node, "SessionsMaxPerNode", 0, .limits = { .min = 0, .max = 1 << 20 }),
    F(sessions_max_per_owner, "SessionsMaxPerOwner", 0, .limits = { .min = 0, .max = 1 << 20 }),
    F(session_idle_minutes, "SessionIdleMinutes", 0, .limits = { .min = 0, .max = 60 }),
    F(session_max_minutes, "SessionMaxMinutes", 0, .limits = { .min = 0, .max = 1440 }),
    F(session_lost_s, "SessionLostSeconds", 0,
      .limits = { .min = SESSION_LOST_S_MIN, .max = 3600 }),
    F(log_level, "LogLevel", 0, .limits = { .enums = levels }),
    F(log_format, "LogFormat", 0, .limits = { .enums = formats }),
};
#undef F
const struct fl_shape fl_conf_shape = FL_SHAPE(struct fl_conf, "server.json", conf_fields);

static int check_keys(json_t *root, struct fl_err *err)
{
    const char *key;
    json_t *value;

    json_object_foreach(root, key, value)
    {
        size_t i = 0;

        while (i < FL_ARRAY_LEN(conf_fields) && strcmp(conf_fields[i].key, key) != 0)
            i++;
        if (i == FL_ARRAY_LEN(conf_fields))
            return fl_err_set(err, -EINVAL, NULL, FL_DATA_CONF ": unknown key \"%.100s\"", key);
    }
    return 0;
}

static int check_alarms(const struct fl_conf *c, struct fl_err *err)
{
    struct fl_alarms *alarms;
    struct fl_err found = { 0 };
    int r = fl_alarms_new(c->alarms, c->n_alarms, &alarms, &found);

    if (r < 0)
        return fl_err_set(err, r, NULL, FL_DATA_CONF ": %s", fl_err_text(&found));
    fl_alarms_free(alarms);
    return 0;
}

bool fl_conf_is_address(const char *text)
{
    const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    bool is = getaddrinfo(text, NULL, &hints, &found) == 0;

    if (is)
        freeaddrinfo(found);
    return is;
}

static int check_values(const struct fl_conf *c, struct fl_err *err)
{
    struct fl_err found = { 0 };
    int r = fl_shape_check(&fl_conf_shape, c, fl_pattern_match, NULL, &found);

    if (r < 0)
        return fl_err_set(err, r, NULL, FL_DATA_CONF ": %s", fl_err_text(&found));
    if (c->bind && !fl_conf_is_address(c->bind))
        return fl_err_set(err, -EINVAL, NULL,
                          FL_DATA_CONF ": Bind: \"%.64s\" is no IPv4 or IPv6 address", c->bind);
    for (size_t i = 0; i < c->metrics_from.n; i++)
        if (!fl_cidr_valid(c->metrics_from.v[i]))
            return fl_err_set(err, -EINVAL, NULL,
                              FL_DATA_CONF ": MetricsFrom: \"%.64s\" is no address or CIDR",
                              c->metrics_from.v[i]);
    return check_alarms(c, err);
}

static void fill_defaults(struct fl_conf *c)
{
    static char *loopback[] = { (char *)"127.0.0.0/8", (char *)"::1/128" };
    static struct fl_intmap_entry outputs = { (char *)"outputs", 30 };
    static char on[] = "on", local[] = "local", address[] = "127.0.0.1", info[] = "info",
                text[] = "text";

    c->transcripts = c->transcripts ? c->transcripts : on;
    c->region = c->region ? c->region : local;
    c->bind = c->bind ? c->bind : address;
    c->public_host = c->public_host ? c->public_host : address;
    c->log_level = c->log_level ? c->log_level : info;
    c->log_format = c->log_format ? c->log_format : text;
    if (!c->port.set)
        c->port.v = PORT_DEFAULT;
    if (!c->node_token_s.set)
        c->node_token_s.v = NODE_TOKEN_DEFAULT_S;
    if (!c->max_connections.set)
        c->max_connections.v = MAX_CONNECTIONS_DEFAULT;
    if (!c->max_guests.set)
        c->max_guests.v = MAX_GUESTS_DEFAULT;
    if (!c->objects_max_bytes.set)
        c->objects_max_bytes.v = OBJECTS_MAX_BYTES_DEFAULT;
    if (!c->objects_max_files.set)
        c->objects_max_files.v = OBJECTS_MAX_FILES_DEFAULT;
    if (!c->object_max_bytes.set)
        c->object_max_bytes.v = OBJECT_MAX_BYTES_DEFAULT;
    if (!c->logs_max_bytes.set)
        c->logs_max_bytes.v = LOGS_MAX_BYTES_DEFAULT;
    if (!c->sessions_max.set)
        c->sessions_max.v = SESSIONS_MAX_DEFAULT;
    if (!c->sessions_max_per_node.set)
        c->sessions_max_per_node.v = SESSIONS_MAX_PER_NODE_DEFAULT;
    if (!c->sessions_max_per_owner.set)
        c->sessions_max_per_owner.v = SESSIONS_MAX_PER_OWNER_DEFAULT;
    if (!c->session_idle_minutes.set)
        c->session_idle_minutes.v = SESSION_IDLE_MINUTES_DEFAULT;
    if (!c->session_lost_s.set)
        c->session_lost_s.v = SESSION_LOST_S_DEFAULT;
    if (!c->transcript_days.set)
        c->transcript_days.v = TRANSCRIPT_DAYS_DEFAULT;
    if (!c->transcript_max_bytes.set)
        c->transcript_max_bytes.v = TRANSCRIPT_MAX_BYTES_DEFAULT;
    if (!c->transcripts_max_bytes.set)
        c->transcripts_max_bytes.v = TRANSCRIPTS_MAX_BYTES_DEFAULT;
    if (!c->transcript_index_max_bytes.set)
        c->transcript_index_max_bytes.v = TRANSCRIPT_INDEX_MAX_BYTES_DEFAULT;
    if (!c->bucket_days.v)
        c->bucket_days = (struct fl_intmap){ .v = &outputs, .n = 1 };
    if (!c->metrics_from.v)
        c->metrics_from = (struct fl_strs){ .v = loopback, .n = FL_ARRAY_LEN(loopback) };
}

int fl_conf_parse(const char *text, size_t len, struct fl_arena *arena, struct fl_conf *ret_conf,
                  struct fl_err *err)
{
    struct fl_conf conf;
    json_error_t jerr;
    json_t *root;
    int r;

    if (len > FL_CONF_MAX_BYTES)
        return fl_err_set(err, -EMSGSIZE, NULL, FL_DATA_CONF ": longer than %d bytes",
                          FL_CONF_MAX_BYTES);
    root = fl_json_load(text, len, JSON_REJECT_DUPLICATES, &jerr);
    if (!root)
        return fl_err_set(err, -EINVAL, NULL, FL_DATA_CONF ": line %d: %s", jerr.line, jerr.text);
    r = json_is_object(root) ? check_keys(root, err)
                             : fl_err_set(err, -EINVAL, NULL, FL_DATA_CONF ": not an object");
    if (r >= 0)
        r = fl_json_decode_value(&fl_conf_shape, root, 0, arena, &conf, err);
    json_decref(root);
    if (r >= 0)
        r = check_values(&conf, err);
    if (r < 0)
        return r;
    fill_defaults(&conf);
    *ret_conf = conf;
    return 0;
}

int fl_conf_load(const char *data_dir, struct fl_arena *arena, struct fl_conf *ret_conf,
                 struct fl_err *err)
{
    const char *path = fl_data_path(arena, data_dir, FL_DATA_CONF);
    fl_autofree char *text = NULL;
    size_t len;
    int r;

    if (!path)
        return fl_err_nomem(err);
    r = fl_file_read(path, FL_CONF_MAX_BYTES, &text, &len, err);
    if (r == -ENOENT)
        return fl_err_set(err, r, NULL,
                          "%s holds no control plane: run \"fairlead-server init\" first",
                          data_dir);
    return r < 0 ? r : fl_conf_parse(text, len, arena, ret_conf, err);
}

void fl_conf_plane(const struct fl_conf *conf, const char *data_dir,
                   struct fl_plane_conf *ret_plane)
{
    *ret_plane = (struct fl_plane_conf){
        .data_dir = (char *)data_dir,
        .bind = conf->bind,
        .port = (uint16_t)conf->port.v,
        .public_host = conf->public_host,
        .account = conf->account,
        .region = conf->region,
        .loops = (unsigned)conf->loops.v,
        .readers = (unsigned)conf->readers.v,
        .node_token_life_ms = conf->node_token_s.v * 1000,
        .metrics_from = conf->metrics_from,
        .max_connections = (unsigned)conf->max_connections.v,
        .max_guests = (unsigned)conf->max_guests.v,
        .max_guests_per_address = (unsigned)conf->max_guests_per_address.v,
        .header_s = (unsigned)conf->header_s.v,
        .idle_s = (unsigned)conf->idle_s.v,
        .min_bytes_per_s = (unsigned)conf->min_bytes_per_s.v,
        .max_body_bytes = (size_t)conf->max_body_bytes.v,
        .max_header_bytes = (size_t)conf->max_header_bytes.v,
        .silent_s = (unsigned)conf->silent_s.v,
        .sessions_max = conf->sessions_max.v,
        .sessions_max_per_node = conf->sessions_max_per_node.v,
        .sessions_max_per_owner = conf->sessions_max_per_owner.v,
        .session_idle_minutes = conf->session_idle_minutes.v,
        .session_max_minutes = conf->session_max_minutes.v,
        .session_lost_ms = conf->session_lost_s.v * 1000,
        .hosts = conf->hosts,
        .objects_max_bytes = conf->objects_max_bytes.v,
        .objects_max_files = conf->objects_max_files.v,
        .object_max_bytes = conf->object_max_bytes.v,
        .logs_max_bytes = conf->logs_max_bytes.v,
        .transcripts = conf->transcripts,
        .transcript_input = conf->transcript_input,
        .transcript_days = conf->transcript_days.v,
        .transcript_max_bytes = conf->transcript_max_bytes.v,
        .transcripts_max_bytes = conf->transcripts_max_bytes.v,
        .transcript_index_max_bytes = conf->transcript_index_max_bytes.v,
        .alarms = conf->alarms,
        .n_alarms = conf->n_alarms,
        .bucket_days = conf->bucket_days,
        .output_buckets_elsewhere = conf->output_buckets_elsewhere,
    };
}

static char *default_dir(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    fl_autofree char *below = NULL;

    if (geteuid() == 0)
        return strdup("/var/lib/fairlead-server");
    if (state && *state == '/')
        return fl_path_join(state, "fairlead-server");
    below = home && *home == '/' ? fl_path_join(home, ".local/state") : NULL;
    return below ? fl_path_join(below, "fairlead-server") : NULL;
}

int fl_data_dir(const char *given, char **ret_dir, struct fl_err *err)
{
    fl_autofree char *cwd = NULL;
    char *dir;

    if (!given) {
        dir = default_dir();
    } else if (*given == '/') {
        dir = strdup(given);
    } else {
        cwd = getcwd(NULL, 0);
        dir = cwd ? fl_path_join(cwd, given) : NULL;
    }
    if (!dir)
        return fl_err_set(err, -ENOENT, NULL, "there is no home directory: give --data DIR");
    *ret_dir = dir;
    return 0;
}

char *fl_data_path(struct fl_arena *arena, const char *data_dir, const char *name)
{
    return fl_arena_printf(arena, "%s/%s", data_dir, name);
}

int fl_data_key_load(const char *data_dir, const char *name, uint8_t key[FL_SEAL_KEY_BYTES],
                     struct fl_err *err)
{
    fl_autofree char *path = fl_path_join(data_dir, name);
    char *text = NULL;
    size_t len;
    int r;

    if (!path)
        return fl_err_nomem(err);
    r = fl_file_read(path, FL_SEAL_KEY_BYTES, &text, &len, err);
    if (r < 0)
        return r;
    if (len == FL_SEAL_KEY_BYTES)
        memcpy(key, text, len);
    else
        r = fl_err_set(err, -EINVAL, NULL, "%s: must be %d bytes", path, FL_SEAL_KEY_BYTES);
    fl_free_secret(text, len);
    return r;
}

int fl_data_key_make(const char *data_dir, const char *name, uint8_t key[FL_SEAL_KEY_BYTES],
                     struct fl_err *err)
{
    fl_autofree char *dir = fl_path_join(data_dir, FL_DATA_KEYS);
    fl_autofree char *path = fl_path_join(data_dir, name);
    int r = dir && path ? fl_dir_make(dir, 0700, err) : fl_err_nomem(err);

    if (r < 0)
        return r;
    fl_random_bytes(key, FL_SEAL_KEY_BYTES);
    return fl_file_replace(path, 0600, key, FL_SEAL_KEY_BYTES, err);
}
