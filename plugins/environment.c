/* environment.c - see environment.h. */
#include "plugins/environment.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ENV_MAX 4096

struct fl_env {
    char *v[ENV_MAX + 1];
    size_t n;
    char *owned[ENV_MAX];
    size_t n_owned;
};

static int put(struct fl_env *e, char *entry)
{
    size_t name = strcspn(entry, "=") + 1;

    for (size_t i = 0; i < e->n; i++)
        if (strncmp(e->v[i], entry, name) == 0) {
            e->v[i] = entry;
            return 0;
        }
    if (e->n == ENV_MAX)
        return -E2BIG;
    e->v[e->n++] = entry;
    return 0;
}

int fl_env_set(struct fl_env *e, const char *name, const char *value)
{
    char *entry = NULL;

    if (!value)
        return 0;
    if (e->n_owned == ENV_MAX)
        return -E2BIG;
    if (asprintf(&entry, "%s=%s", name, value) < 0)
        return -ENOMEM;
    e->owned[e->n_owned++] = entry;
    return put(e, entry);
}

void fl_env_drop(struct fl_env *e, const char *word)
{
    for (size_t i = 0; i < e->n; i++)
        if (strstr(e->v[i], word)) {
            e->n--;
            memmove(&e->v[i], &e->v[i + 1], (e->n - i) * sizeof(e->v[0]));
            e->v[e->n] = NULL;
            return;
        }
}

static int fill(struct fl_env *e, const struct fl_step_context *ctx, const struct fl_strmap *own)
{
    const struct fl_strmap *const documents[] = { ctx->env, own };
    const struct {
        const char *name, *value;
    } ours[] = {
        { "SSM_COMMAND_ID", ctx->command_id },
        { "AWS_PROFILE", ctx->aws_profile },
        { "AWS_SHARED_CREDENTIALS_FILE", ctx->aws_credentials_file },
        { "AWS_SSM_INSTANCE_ID", ctx->node_id },
        { "AWS_SSM_REGION_NAME", ctx->region },
        { "AWS_SSM_PLATFORM_NAME", ctx->platform_name },
        { "AWS_SSM_PLATFORM_VERSION", ctx->platform_version },
    };
    int r = 0;

    for (char **v = environ; *v && r == 0; v++)
        r = put(e, *v);
    for (size_t m = 0; m < FL_ARRAY_LEN(documents); m++)
        for (size_t i = 0; documents[m] && i < documents[m]->n && r == 0; i++)
            r = fl_env_set(e, documents[m]->v[i].key, documents[m]->v[i].value);
    for (size_t i = 0; i < FL_ARRAY_LEN(ours) && r == 0; i++)
        r = fl_env_set(e, ours[i].name, ours[i].value);
    return r;
}

struct fl_env *fl_env_new(const struct fl_step_context *ctx, const struct fl_strmap *own)
{
    struct fl_env *e = calloc(1, sizeof(*e));

    return e && fill(e, ctx, own) == 0 ? e : fl_env_free(e);
}

struct fl_env *fl_env_free(struct fl_env *e)
{
    for (size_t i = 0; e && i < e->n_owned; i++)
        free(e->owned[i]);
    free(e);
    return NULL;
}

char *const *fl_env_list(const struct fl_env *e)
{
    return e->v;
}

void fl_env_find_program(const char *const *programs, const char *otherwise, char *out,
                         size_t out_size)
{
    const char *path = getenv("PATH");

    for (const char *const *name = programs; *name; name++)
        for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
            size_t n = strcspn(p, ":");
            int len = snprintf(out, out_size, "%.*s/%s", (int)n, p, *name);

            if (n > 0 && len > 0 && (size_t)len < out_size && access(out, X_OK) == 0)
                return;
            p += n + (p[n] == ':');
        }
    snprintf(out, out_size, "%s", otherwise);
}
