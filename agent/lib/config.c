/* config.c - see config.h: one row a key, walked over the parsed file. */
#include "agent/lib/config.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "common/base/file.h"
#include "common/codec/json_load.h"

#define MAX_CONFIG_BYTES (1u << 20)
#define NO_LIMIT         INT64_MAX
#define OUR_SECTION      "Fairlead"

enum kind { BOOL, INT, STR, STR_LIST, OBJ_LIST };
static const char *const kind_names[] = { "a boolean", "an integer", "a string",
                                          "a list of strings", "a list of objects" };

struct row {
    const char *path; /* "Profile.ShareCreds" */
    enum kind kind;
    bool used; /* has a member: `offset` */
    size_t offset;
    int64_t number;            /* default of BOOL and INT */
    int64_t min, max;          /* INT: outside of them the default stands */
    const char *text;          /* default of STR */
    const char *const *values; /* STR: allowed ones beside "", which means the default; STR_LIST:
                                  its default */
};

static const char *const output_cleanup[] = { "default", "after-execution", "after-upload", NULL };
static const char *const orchestration_cleanup[] = { "default", "clean-success",
                                                     "clean-success-failed", NULL };
static const char *const logs_destination[] = { "none", "disk", NULL };
static const char *const detection[] = { "true", "false", NULL };
static const char *const log_levels[] = { "error", "warn", "info", "debug", NULL };
static const char *const log_formats[] = { "text", "json", NULL };
static const char *const denied_ips[] = {
    /* the official agent's (protocol 3 §8) */
    "169.254.169.254", "169.254.169.253", "169.254.169.123", "169.254.169.250", "169.254.169.251",
    "fd00:ec2::254", "fd00:ec2::253", "fd00:ec2::123", "fd00:ec2::240",
    /* credentials of containers and pods, and what other clouds have beside 169.254.169.254 */
    "169.254.170.2", "169.254.170.23", "fd00:ec2::23", "168.63.129.16", "100.100.100.200",
    "fd20:ce::254", NULL
};
static const char *const addressing[] = { "auto", "path", "virtual", NULL };

#define USED(member) .used = true, .offset = offsetof(struct fl_agent_config, member)
#define BOOL_KEY(p, def, ...)                               \
    {                                                       \
        .path = p, .kind = BOOL, .number = def, __VA_ARGS__ \
    }
#define INT_KEY(p, def, lo, hi, ...)                                             \
    {                                                                            \
        .path = p, .kind = INT, .number = def, .min = lo, .max = hi, __VA_ARGS__ \
    }
#define STR_KEY(p, def, ...)                             \
    {                                                    \
        .path = p, .kind = STR, .text = def, __VA_ARGS__ \
    }

/* Protocol 1 §7. Rows without USED are keys of the official agent that change nothing here: they
 * are still held to their type, as there. */
/* clang-format off */
static const struct row rows[] = {
    BOOL_KEY("Profile.ShareCreds", true, USED(share_creds)),
    STR_KEY("Profile.ShareProfile", "", USED(share_profile)),
    BOOL_KEY("Profile.ForceUpdateCreds", false),
    INT_KEY("Profile.KeyAutoRotateDays", 0, 0, 365, USED(key_rotate_days)),
    INT_KEY("Mds.CommandWorkersLimit", 5, 1, NO_LIMIT, USED(command_workers)),
    INT_KEY("Mds.CommandWorkerBufferLimit", 5, 1, NO_LIMIT, USED(command_buffer)),
    INT_KEY("Mds.StopTimeoutMillis", 20000, 10000, 1000000, USED(stop_timeout_ms)),
    INT_KEY("Mds.CommandRetryLimit", 15, 1, 100, USED(command_retry_limit)),
    STR_KEY("Mds.Endpoint", ""),
    STR_KEY("Ssm.Endpoint", "", USED(ssm_endpoint)),
    STR_KEY("Mgs.Endpoint", "", USED(mgs_endpoint)),
    STR_KEY("Mgs.Region", "", USED(mgs_region)),
    STR_KEY("S3.Endpoint", "", USED(s3_endpoint)),
    STR_KEY("Kms.Endpoint", "", USED(kms_endpoint)),
    STR_KEY("Agent.Region", "", USED(agent_region)),
    STR_KEY("Agent.ServiceDomain", "", USED(service_domain)),
    INT_KEY("Ssm.HealthFrequencyMinutes", 5, 5, 60, USED(health_minutes)),
    INT_KEY("Ssm.AssociationFrequencyMinutes", 10, 5, 60),
    INT_KEY("Ssm.AssociationRetryLimit", 5, INT64_MIN, NO_LIMIT),
    STR_KEY("Ssm.CustomInventoryDefaultLocation", ""),
    INT_KEY("Ssm.AssociationLogsRetentionDurationHours", 24, 8, NO_LIMIT),
    INT_KEY("Ssm.RunCommandLogsRetentionDurationHours", 336, 8, NO_LIMIT, USED(log_retention_hours)),
    INT_KEY("Ssm.SessionLogsRetentionDurationHours", 336, INT64_MIN, NO_LIMIT),
    STR_KEY("Ssm.SessionLogsDestination", "none", .values = logs_destination),
    STR_KEY("Ssm.PluginLocalOutputCleanup", "default", USED(output_cleanup), .values = output_cleanup),
    STR_KEY("Ssm.OrchestrationDirectoryCleanup", "default", USED(orchestration_cleanup),
            .values = orchestration_cleanup),
    INT_KEY("Mgs.StopTimeoutMillis", 20000, INT64_MIN, NO_LIMIT),
    INT_KEY("Mgs.SessionWorkersLimit", 1000, 1, NO_LIMIT, USED(session_workers)),
    INT_KEY("Mgs.SessionWorkerBufferLimit", 1, 1, NO_LIMIT),
    { .path = "Mgs.DeniedPortForwardingRemoteIPs", .kind = STR_LIST, USED(denied_remote_ips),
      .values = denied_ips },
    STR_KEY("Agent.Name", "amazon-ssm-agent", USED(agent_name)),
    STR_KEY("Agent.Version", ""),
    STR_KEY("Agent.OrchestrationRootDir", ""),
    STR_KEY("Agent.DownloadRootDir", ""),
    BOOL_KEY("Agent.ContainerMode", false),
    BOOL_KEY("Agent.SelfUpdate", false),
    INT_KEY("Agent.SelfUpdateScheduleDay", 7, 1, 7),
    BOOL_KEY("Agent.TelemetryMetricsToCloudWatch", false),
    BOOL_KEY("Agent.TelemetryMetricsToSSM", true),
    STR_KEY("Agent.TelemetryMetricsNamespace", "amazon-ssm-agent-telemetry"),
    INT_KEY("Agent.LongRunningWorkerMonitorIntervalSeconds", 60, 30, 1800),
    INT_KEY("Agent.AuditExpirationDay", 7, 3, 30),
    INT_KEY("Agent.GoMaxProcForAgentWorker", 0, 0, NO_LIMIT),
    BOOL_KEY("Agent.ForceFileIPC", false),
    BOOL_KEY("Agent.ShouldPurgeInstanceProfileRoleCreds", false),
    STR_KEY("Os.Lang", "en-US", USED(os_lang)),
    STR_KEY("Os.Name", "", USED(os_name)),
    STR_KEY("Os.Version", "1", USED(os_version)),
    BOOL_KEY("Kms.RequireKMSChallengeResponse", false, USED(require_kms_challenge)),
    BOOL_KEY("Birdwatcher.ForceEnable", false),
    STR_KEY("S3.Region", ""),
    STR_KEY("S3.LogBucket", ""),
    STR_KEY("S3.LogKey", ""),
    { .path = "Identity.ConsumptionOrder", .kind = STR_LIST },
    { .path = "Identity.CustomIdentities", .kind = OBJ_LIST },
    STR_KEY("Identity.Ec2SystemInfoDetectionResponse", "", .values = detection),

    STR_KEY(OUR_SECTION ".CaFile", "", USED(ca_file)),
    STR_KEY(OUR_SECTION ".Proxy.Http", "", USED(proxy_http)),
    STR_KEY(OUR_SECTION ".Proxy.Https", "", USED(proxy_https)),
    STR_KEY(OUR_SECTION ".Proxy.NoProxy", "", USED(no_proxy)),
    STR_KEY(OUR_SECTION ".PolicyFile", "", USED(policy_file)),
    STR_KEY(OUR_SECTION ".NetUser", "fairlead", USED(net_user)),
    STR_KEY(OUR_SECTION ".PluginsDir", "", USED(plugins_dir)),
    STR_KEY(OUR_SECTION ".LogLevel", "info", USED(log_level), .values = log_levels),
    STR_KEY(OUR_SECTION ".LogFormat", "text", USED(log_format), .values = log_formats),
    STR_KEY(OUR_SECTION ".LogsEndpoint", "", USED(logs_endpoint)),
    STR_KEY(OUR_SECTION ".S3AddressingStyle", "auto", USED(s3_addressing), .values = addressing),
    STR_KEY(OUR_SECTION ".CredentialsFile", "", USED(credentials_file)),
    STR_KEY(OUR_SECTION ".SessionUser", "", USED(session_user)),
    STR_KEY(OUR_SECTION ".PamService", "", USED(pam_service)),
    STR_KEY(OUR_SECTION ".RebootCommand", "/sbin/shutdown -r +1", USED(reboot_command)),
    INT_KEY(OUR_SECTION ".Jobs.MaxBytes", 1LL << 30, 1 << 20, NO_LIMIT, USED(jobs_max_bytes)),
    INT_KEY(OUR_SECTION ".Jobs.MaxFiles", 100000, 100, NO_LIMIT, USED(jobs_max_files)),
    INT_KEY(OUR_SECTION ".Jobs.MaxOutputBytes", 16 << 20, 65536, NO_LIMIT, USED(output_max_bytes)),
};
/* clang-format on */

/* The member in any letter case; of several the last, as Go's decoder has it. */
static json_t *get_nocase(json_t *obj, const char *key, size_t key_len)
{
    json_t *found = NULL, *v;
    const char *k;

    json_object_foreach(obj, k, v) if (strlen(k) == key_len && strncasecmp(k, key, key_len) == 0)
        found = v;
    return found;
}

/* *ret_value is NULL if the path is absent or null. */
static int find_path(json_t *root, const char *path, json_t **ret_value, const char *file,
                     struct fl_err *err)
{
    const char *part = path;
    json_t *v = root;

    for (;;) {
        size_t len = strcspn(part, ".");

        v = get_nocase(v, part, len);
        if (!v || json_is_null(v))
            break;
        part += len;
        if (!*part)
            break;
        if (!json_is_object(v))
            return fl_err_set(err, -EINVAL, NULL, "%s: %.*s: must be an object", file,
                              (int)(part - path), path);
        part++;
    }
    *ret_value = json_is_null(v) ? NULL : v;
    return 0;
}

static bool right_type(const struct row *row, json_t *v)
{
    json_t *elem;
    size_t i;

    switch (row->kind) {
    case BOOL:
        return json_is_boolean(v);
    case INT:
        return json_is_integer(v);
    case STR:
        return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v);
    case STR_LIST:
    case OBJ_LIST:
        if (!json_is_array(v))
            return false;
        json_array_foreach(v, i, elem) if (row->kind == STR_LIST
                                               ? !json_is_string(elem)
                                               : !json_is_object(elem)) return false;
        return true;
    }
    return false;
}

static const char *pick_text(const struct row *row, json_t *v)
{
    const char *s = v ? json_string_value(v) : "";

    if (!*s)
        return row->text;
    if (!row->values)
        return s;
    for (const char *const *allowed = row->values; *allowed; allowed++)
        if (strcmp(s, *allowed) == 0)
            return s;
    return row->text;
}

static int copy_list(const struct row *row, json_t *v, struct fl_arena *arena, struct fl_strs *ret)
{
    struct fl_strs list = { .n = json_array_size(v) };

    while (!v && row->values[list.n])
        list.n++;
    list.v = fl_arena_calloc(arena, list.n, sizeof(*list.v));
    for (size_t i = 0; list.v && i < list.n; i++) {
        list.v[i] =
            fl_arena_strdup(arena, v ? json_string_value(json_array_get(v, i)) : row->values[i]);
        if (!list.v[i])
            return -ENOMEM;
    }
    *ret = list;
    return list.v ? 0 : -ENOMEM;
}

static int apply(const struct row *row, json_t *v, struct fl_arena *arena,
                 struct fl_agent_config *config)
{
    char *member = (char *)config + row->offset;
    int64_t n;

    switch (row->kind) {
    case BOOL:
        *(bool *)(void *)member = v ? json_is_true(v) : row->number != 0;
        return 0;
    case INT:
        n = v ? json_integer_value(v) : row->number;
        *(int64_t *)(void *)member = n < row->min || n > row->max ? row->number : n;
        return 0;
    case STR:
        *(char **)(void *)member = fl_arena_strdup(arena, pick_text(row, v));
        return *(char **)(void *)member ? 0 : -ENOMEM;
    case STR_LIST:
        return copy_list(row, v, arena, (struct fl_strs *)(void *)member);
    case OBJ_LIST:
        break;
    }
    return 0;
}

/* True if some row is `path` or lies below it. */
static bool known_path(const char *path, bool *ret_section)
{
    size_t len = strlen(path);

    for (size_t i = 0; i < FL_ARRAY_LEN(rows); i++) {
        if (strncasecmp(rows[i].path, path, len) != 0)
            continue;
        *ret_section = rows[i].path[len] == '.';
        if (*ret_section || !rows[i].path[len])
            return true;
    }
    return false;
}

/* A misspelt key of ours would otherwise go unnoticed. */
static int check_ours(json_t *section, const char *prefix, const char *file, struct fl_err *err)
{
    const char *k;
    json_t *v;
    int r;

    json_object_foreach(section, k, v)
    {
        char path[128];
        bool is_section = false;

        if ((size_t)snprintf(path, sizeof(path), "%s.%s", prefix, k) >= sizeof(path) ||
            strchr(k, '.') || !known_path(path, &is_section))
            return fl_err_set(err, -EINVAL, NULL, "%s: %s.%.64s: unknown key", file, prefix, k);
        if (!is_section || json_is_null(v))
            continue;
        if (!json_is_object(v))
            return fl_err_set(err, -EINVAL, NULL, "%s: %s: must be an object", file, path);
        r = check_ours(v, path, file, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int fill(json_t *root, const char *file, struct fl_arena *arena,
                struct fl_agent_config *config, struct fl_err *err)
{
    json_t *ours = root ? get_nocase(root, OUR_SECTION, strlen(OUR_SECTION)) : NULL;
    int r;

    if (ours && json_is_object(ours)) {
        r = check_ours(ours, OUR_SECTION, file, err);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < FL_ARRAY_LEN(rows); i++) {
        json_t *v = NULL;

        if (root) {
            r = find_path(root, rows[i].path, &v, file, err);
            if (r < 0)
                return r;
        }
        if (v && !right_type(&rows[i], v))
            return fl_err_set(err, -EINVAL, NULL, "%s: %s: must be %s", file, rows[i].path,
                              kind_names[rows[i].kind]);
        if (rows[i].used && apply(&rows[i], v, arena, config) < 0)
            return fl_err_set(err, -ENOMEM, NULL, "%s: out of memory", file);
    }
    return 0;
}

int fl_agent_config_load(const char *path, struct fl_arena *arena,
                         struct fl_agent_config *ret_config, struct fl_err *err)
{
    struct fl_agent_config config = { 0 };
    fl_autofree char *text = NULL;
    const char *file = path ? path : "defaults";
    json_t *root = NULL;
    json_error_t bad;
    size_t len = 0;
    int r;

    r = path ? fl_file_read(path, MAX_CONFIG_BYTES, &text, &len, err) : -ENOENT;
    if (r < 0 && r != -ENOENT)
        return r;
    if (r == 0) {
        root = fl_json_load(text, len, 0, &bad);
        if (!root)
            return fl_err_set(err, -EBADMSG, NULL, "%s: line %d: %s", file, bad.line, bad.text);
        if (!json_is_object(root)) {
            json_decref(root);
            return fl_err_set(err, -EINVAL, NULL, "%s: must be one JSON object", file);
        }
    }
    r = fill(root, file, arena, &config, err);
    json_decref(root);
    if (r == 0)
        *ret_config = config;
    return r;
}
