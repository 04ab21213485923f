/* place.c - see place.h. */
#include "server/command/place.h"

#include <errno.h>
#include <string.h>
#include "common/base/rand.h"
#include "common/wire/output_names.h"
#include "server/api/commands.h"
#include "server/api/nodes.h"

/* Finds "<command>/<node>/". */
static bool take_ids(const char *name, char command[FL_UUID_BYTES], char node[FL_NODE_ID_BYTES],
                     size_t *ret_at)
{
    const char *next;

    for (const char *p = name; p; p = next) {
        const char *slash = strchr(p, '/'), *end = slash ? strchr(slash + 1, '/') : NULL;

        next = slash ? slash + 1 : NULL;
        if (!end || slash - p != FL_UUID_BYTES - 1 || end - slash != FL_NODE_ID_BYTES)
            continue;
        memcpy(command, p, FL_UUID_BYTES - 1);
        command[FL_UUID_BYTES - 1] = '\0';
        memcpy(node, slash + 1, FL_NODE_ID_BYTES - 1);
        node[FL_NODE_ID_BYTES - 1] = '\0';
        *ret_at = (size_t)(p - name);
        if (fl_uuid_valid(command) && fl_node_id_valid(node))
            return true;
    }
    return false;
}

/* The group that a command's settings mean; NULL if it does not log, or without memory. */
static const char *group_of(struct fl_call *call, const char *config, const char *document)
{
    struct fl_log_config log;

    if (!config ||
        fl_json_decode(&fl_log_config_shape, config, strlen(config), 0, call->arena, &log, NULL) <
            0 ||
        !log.enabled)
        return NULL;
    return fl_output_log_group(log.group, document, call->arena);
}

int fl_output_place(struct fl_call *call, const char *name, const char *node_id,
                    struct fl_output_place *ret_place, struct fl_err *err)
{
    char command[FL_UUID_BYTES], node[FL_NODE_ID_BYTES];
    fl_autocursor struct fl_cursor *row = NULL;
    struct fl_output_place out;
    int r;

    if (!name || !take_ids(name, command, node, &out.at))
        return 0;
    if (strcmp(node, node_id) != 0)
        return fl_err_set(err, -EACCES, "AccessDeniedException", "Node %s may not act for %s.",
                          node_id, node);
    r = fl_sql_open(call->tx, FL_SQL_output_place, &row, err, FL_T(command), FL_T(node));
    if (r >= 0)
        r = fl_sql_next(row, err);
    if (r <= 0)
        return r;
    out.bucket = fl_arena_strdup(call->arena, fl_sql_text(row, 0));
    out.prefix = fl_output_prefix(fl_sql_text(row, 1), call->arena);
    out.log_group = group_of(call, fl_sql_text(row, 2), fl_sql_text(row, 3));
    if (!out.bucket || !out.prefix)
        return fl_err_nomem(err);
    *ret_place = out;
    return 1;
}

int fl_output_group(struct fl_call *call, const char *group, const char *node_id,
                    struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_sql_open(call->tx, FL_SQL_node_log_configs, &row, err, FL_T(node_id));

    while (r >= 0 && (r = fl_sql_next(row, err)) > 0) {
        const char *name = group_of(call, fl_sql_text(row, 0), fl_sql_text(row, 1));

        if (name && strcmp(name, group) == 0)
            return 1;
    }
    return r;
}
