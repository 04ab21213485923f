/* identity_save.c - see identity_save.h. */
#include "agent/monitor/identity_save.h"
#include <errno.h>
#include "agent/monitor/identity_files.h"
#include "common/base/log.h"

#define ARENA_BYTES (128u << 10)

/* One write; outlives a saver that is freed. */
struct save {
    struct fl_identity_saver *saver; /* NULL: freed meanwhile */
    struct fl_arena arena;
    struct fl_identity_files files;
    enum fl_share_outcome outcome;
    struct fl_err err, share_err;
    int result;
};

struct fl_identity_saver {
    struct fl_loop *loop;
    const char *state_dir;
    const struct fl_agent_config *config;
    struct save *save;                /* under way */
    const struct fl_credcache *again; /* to be saved then; NULL: nothing */
    enum fl_share_outcome told_outcome;
};

static void save_work(void *arg)
{
    struct save *s = arg;

    s->result = fl_identity_files_write(&s->files, &s->outcome, &s->share_err, &s->err);
}

static void tell_share(struct fl_identity_saver *saver, const struct save *s)
{
    const char *profile = *s->files.share_profile ? s->files.share_profile : "default";

    if (s->outcome == saver->told_outcome)
        return;
    saver->told_outcome = s->outcome;
    if (s->outcome == FL_SHARE_FALLBACK)
        fl_log_warn("profile of the shared credentials file is not ours: another one is written",
                    FL_S("profile", profile), FL_S("written", FL_SHARE_FALLBACK_PROFILE));
    else if (s->outcome == FL_SHARE_TAKEN)
        fl_log_warn("profiles of the shared credentials file are not ours: nothing is shared",
                    FL_S("profile", profile));
    else if (s->outcome == FL_SHARE_FAILED)
        fl_log_warn("credentials cannot be shared", FL_S("error", fl_err_text(&s->share_err)));
}

static void free_save(struct save *s)
{
    fl_arena_done(&s->arena);
    free(s);
}

static void save_done(void *arg)
{
    struct save *s = arg;
    struct fl_identity_saver *saver = s->saver;
    const struct fl_credcache *again;

    if (saver) {
        again = saver->again;
        saver->save = NULL;
        saver->again = NULL;
        if (s->result < 0)
            fl_log_warn("credentials cannot be kept", FL_S("error", fl_err_text(&s->err)));
        else
            tell_share(saver, s);
        if (again)
            fl_identity_save(saver, again);
    }
    free_save(s);
}

void fl_identity_save(struct fl_identity_saver *saver, const struct fl_credcache *creds)
{
    struct save *s;

    if (saver->save) {
        saver->again = creds;
        return;
    }
    s = calloc(1, sizeof(*s));
    if (!s)
        return;
    fl_arena_init(&s->arena, ARENA_BYTES);
    s->arena.secret = true;
    s->files = (struct fl_identity_files){
        .state_dir = fl_arena_strdup(&s->arena, saver->state_dir),
        .share = saver->config->share_creds,
        .share_file = fl_arena_strdup(&s->arena, saver->config->credentials_file),
        .share_profile = fl_arena_strdup(&s->arena, saver->config->share_profile)
    };
    s->saver = saver;
    if (fl_credcache_copy(&s->arena, creds, &s->files.creds) < 0 || !s->files.state_dir ||
        !s->files.share_file || !s->files.share_profile ||
        fl_loop_work(saver->loop, save_work, save_done, s) < 0) {
        free_save(s);
        return;
    }
    saver->save = s;
}

int fl_identity_saver_new(struct fl_loop *loop, const char *state_dir,
                          const struct fl_agent_config *config,
                          struct fl_identity_saver **ret_saver, struct fl_err *err)
{
    struct fl_identity_saver *saver = calloc(1, sizeof(*saver));

    if (!saver)
        return fl_err_nomem(err);
    saver->loop = loop;
    saver->state_dir = state_dir;
    saver->config = config;
    saver->told_outcome = FL_SHARE_WRITTEN; /* what needs no telling */
    *ret_saver = saver;
    return 0;
}

struct fl_identity_saver *fl_identity_saver_free(struct fl_identity_saver *saver)
{
    if (saver && saver->save)
        saver->save->saver = NULL;
    free(saver);
    return NULL;
}
