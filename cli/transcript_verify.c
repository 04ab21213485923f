/* transcript_verify.c - `fairlead transcripts verify`: whether what was recorded is there, and as
 * it was written.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/command.h"
#include "cli/list.h"
#include "cli/term.h"
#include "common/aws/crypto.h"
#include "common/wire/datachannel.h"

#define ARENA_BYTES      (1 << 20)
#define LINE_ARENA_BYTES 65536
#define ENDED            "fairlead:TranscriptEnded"
#define REMOVED          "fairlead:TranscriptRemoved"

extern const struct fl_command fl_cmd_transcripts_verify;

/* ---- what the plane answers ---- */

struct verdict {
    bool valid, ended;
    char *error, *head;
    int64_t bytes, blocks, tail;
};
#define F(member, key) FL_FIELD(struct verdict, member, key, 0)
static const struct fl_field verdict_fields[] = {
    F(valid, "Valid"),   F(error, "Error"), F(head, "Head"), F(bytes, "FileBytes"),
    F(blocks, "Blocks"), F(ended, "Ended"), F(tail, "Tail"),
};
#undef F
static const struct fl_shape verdict_shape = FL_SHAPE(struct verdict, "Verdict", verdict_fields);

struct session {
    char *session_id;
};
static const struct fl_field session_fields[] = {
    FL_FIELD(struct session, session_id, "SessionId", 0),
};
static const struct fl_shape session_shape = FL_SHAPE(struct session, "session", session_fields);

static const struct fl_op verify_op = { "Fairlead.VerifyTranscript", &session_shape, &verdict_shape,
                                        false };
static const struct fl_list all_sessions = { .operation = "Fairlead.ListTranscripts",
                                             .key = "Transcripts",
                                             .shape = &session_shape };

/* ---- which ---- */

struct verify_options {
    const char *audit;
    bool all;
};
static const struct fl_opt verify_options[] = {
#define O(...) FL_OPT(struct verify_options, __VA_ARGS__)
    O(all, 'a', "all", NULL, "all that the plane has"),
    O(audit, 'A', "audit", "FILE",
      "all whose end is in a copy of the plane's audit log; - is input"),
#undef O
};

/* `sessions` is an object: id -> the value that the audit log has for its end, or null. */
static int add_listed(void *arg, const void *item, const void *json)
{
    const struct session *s = item;
    json_t *sessions = arg;

    (void)json;
    if (!s->session_id || json_object_get(sessions, s->session_id))
        return 0;
    return json_object_set_new(sessions, s->session_id, json_null()) < 0 ? -ENOMEM : 0;
}

struct audit_line {
    char *operation;
    struct fl_strs resources; /* session, value */
};
static const struct fl_field audit_line_fields[] = {
    FL_FIELD(struct audit_line, operation, "operation", 0),
    FL_FIELD(struct audit_line, resources, "resources", 0),
};
static const struct fl_shape audit_line_shape =
    FL_SHAPE(struct audit_line, "line", audit_line_fields);

/* One that was removed by its age is not looked for, in whatever order the lines come. */
static int add_line(json_t *sessions, json_t *removed, const char *text, size_t len)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(LINE_ARENA_BYTES);
    struct audit_line line = { 0 };
    const char *id;
    int r = 0;

    if (!strstr(text, "\"" ENDED "\"") && !strstr(text, "\"" REMOVED "\""))
        return 0;
    if (fl_json_decode(&audit_line_shape, text, len, FL_DECODE_LAX, &arena, &line, NULL) < 0 ||
        !line.operation || line.resources.n < 2 || !fl_session_id_valid(line.resources.v[0]))
        return -EBADMSG;
    id = line.resources.v[0];
    if (strcmp(line.operation, REMOVED) == 0)
        r = json_object_set_new(removed, id, json_true());
    else if (strcmp(line.operation, ENDED) == 0)
        r = json_object_set_new(sessions, id, json_string(line.resources.v[1]));
    return r < 0 ? -ENOMEM : 0;
}

static int read_audit(const char *path, json_t *sessions, struct fl_err *err)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdin : fopen(path, "re");
    json_t *removed = json_object();
    fl_autofree char *text = NULL;
    size_t size = 0, number = 0;
    const char *id;
    json_t *value;
    ssize_t len;
    int r = f ? 0 : fl_err_set(err, -errno, NULL, "%s: %s", path, strerror(errno));

    while (r == 0 && (len = getline(&text, &size, f)) >= 0) {
        number++;
        r = add_line(sessions, removed, text, (size_t)len);
        if (r == -EBADMSG)
            fl_err_set(err, r, NULL, "%s: line %zu is not of an audit log", path, number);
    }
    if (r == 0 && ferror(f))
        r = fl_err_set(err, -EIO, NULL, "%s: cannot be read", path);
    json_object_foreach(removed, id, value) json_object_del(sessions, id);
    json_decref(removed);
    if (f && !standard)
        fclose(f);
    return r;
}

/* ---- one ---- */

/* 1: it is whole, 0: it is not, and that was said. */
static int verify_one(struct fl_cli *cli, const char *id, const char *audited, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct session in = { .session_id = (char *)id };
    struct verdict v = { 0 };
    int r = fl_api_call(cli, &verify_op, &in, &arena, &v, err);

    if (audited && fl_api_refused(r, err, "DoesNotExistException")) {
        fl_put_textf(stdout, "%s: NOT THERE: it was recorded, and the plane knows nothing of it\n",
                     id);
        return 0;
    }
    if (r < 0)
        return r;
    if (!v.valid) {
        fl_put_textf(stdout, "%s: NOT WHOLE: %s\n", id, v.error ? v.error : "");
        return 0;
    }
    if (audited && (!v.ended || !v.head || strcmp(v.head, audited) != 0)) {
        fl_put_textf(stdout, "%s: NOT WHOLE: the audit log has another value for its end, %.*s\n",
                     id, FL_SHA256_HEX_BYTES - 1, audited);
        return 0;
    }
    fl_put_textf(stdout, "%s: %s, %lld bytes in %lld blocks, %s\n", id,
                 v.ended ? "whole" : "whole so far, its session has not ended", (long long)v.bytes,
                 (long long)v.blocks, v.head ? v.head : "");
    if (v.tail)
        fl_put_textf(stdout,
                     "%s: %lld bytes behind them are no block: being written, or cut short\n", id,
                     (long long)v.tail);
    return 1;
}

static int run_verify(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct verify_options *o = options;
    json_t *sessions = json_object(), *value;
    int status = FL_EXIT_OK, r = 0;
    struct fl_err err = { 0 };
    const char *id;

    if (!args->n && !o->all && !o->audit)
        r = fl_usage(&fl_cmd_transcripts_verify, "SESSION, --all or --audit is missing");
    if (r) {
        json_decref(sessions);
        return r;
    }
    if (o->audit)
        r = read_audit(o->audit, sessions, &err);
    if (o->all && r == 0)
        r = fl_list_each(cli, &all_sessions, "{}", add_listed, sessions, &err);
    for (size_t i = 0; i < args->n && r == 0; i++)
        r = add_listed(sessions, &(struct session){ args->v[i] }, NULL);
    json_object_foreach(sessions, id, value)
    {
        if (r >= 0)
            r = verify_one(cli, id, json_string_value(value), &err);
        if (r == 0)
            status = FL_EXIT_FAILED;
        r = FL_MIN(r, 0);
    }
    json_decref(sessions);
    return r < 0 ? fl_cli_failed(r, &err) : status;
}

const struct fl_command fl_cmd_transcripts_verify = {
    .name = "transcripts verify",
    .args = "[SESSION...]",
    .summary = "Check that transcripts are there, and as they were written",
    .text = "The last column is the value that all of the transcript is bound to. The plane also "
            "writes it to its audit log when a session ends (fairlead:TranscriptEnded). Where that "
            "log is kept elsewhere too, --audit compares the values, and finds sessions that are "
            "gone and were not removed by their age: so shows even what somebody with the plane's "
            "key and database did. Exit status 1 if one is not whole or not there.\n\n"
            "    cat audit.log* | fairlead transcripts verify --audit -",
    FL_OPTIONS(struct verify_options, verify_options),
    .max_args = FL_ARGS_ANY,
    .run = run_verify,
};
