/* signature.c - see signature.h. */
#include "common/doc/signature.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC           "fairlead1"
#define MAX_NAME_BYTES  64
#define N_FIELDS        7
#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

bool fl_signature_name_valid(const char *name)
{
    size_t len = strlen(name);

    return len >= 1 && len <= MAX_NAME_BYTES && strspn(name, NAME_CHARACTERS) == len;
}

static bool target_valid(const char *target, size_t len)
{
    char name[MAX_NAME_BYTES + 1];

    if (len == 1 && *target == '*')
        return true;
    if (len > 0 && *target == '@') {
        target++;
        len--;
    }
    if (len > MAX_NAME_BYTES)
        return false;
    memcpy(name, target, len);
    name[len] = '\0';
    return fl_signature_name_valid(name);
}

/* Calls for each element of a comma-separated list. */
static const char *next_target(const char **list, size_t *ret_len)
{
    const char *at = *list;

    if (!at)
        return NULL;
    *ret_len = strcspn(at, ",");
    *list = at[*ret_len] ? at + *ret_len + 1 : NULL;
    return at;
}

static bool targets_valid(const char *list)
{
    const char *at;
    size_t len;

    while ((at = next_target(&list, &len)))
        if (!target_valid(at, len))
            return false;
    return true;
}

static int check(const struct fl_signature *s, struct fl_err *err)
{
    if (!fl_signature_name_valid(s->key))
        return fl_err_set(err, -EINVAL, NULL, "signature: not the name of a key");
    if (strlen(s->nonce) != FL_SIGNATURE_NONCE_BYTES - 1 ||
        strspn(s->nonce, "0123456789abcdef") != FL_SIGNATURE_NONCE_BYTES - 1)
        return fl_err_set(err, -EINVAL, NULL, "signature: the nonce must have 32 hex digits");
    if (!targets_valid(s->targets))
        return fl_err_set(err, -EINVAL, NULL,
                          "signature: targets must be node ids, @labels or \"*\"");
    if (s->not_before_s < 0 || s->not_after_s <= s->not_before_s ||
        s->not_after_s - s->not_before_s > FL_SIGNATURE_MAX_LIFE_S)
        return fl_err_set(err, -EINVAL, NULL, "signature: must hold for 1 second to 31 days");
    return 0;
}

static int no_room(struct fl_err *err, int r)
{
    return fl_err_set(err, r, NULL, "signature: more than %d bytes", FL_SIGNATURE_MAX_BYTES);
}

int fl_signature_format(const struct fl_signature *s, struct fl_buf *out, struct fl_err *err)
{
    int r = check(s, err);

    if (r < 0)
        return r;
    r = fl_buf_printf(out, "%s:%s:%lld:%lld:%s:%s:%s", MAGIC, s->key, (long long)s->not_before_s,
                      (long long)s->not_after_s, s->nonce, s->targets, s->sig);
    return r < 0 ? no_room(err, r) : 0;
}

int fl_signature_parse(const char *text, struct fl_arena *arena, struct fl_signature *ret_sig,
                       struct fl_err *err)
{
    fl_autobuf struct fl_buf again = FL_BUF(FL_SIGNATURE_MAX_BYTES);
    char *copy = NULL, *field[N_FIELDS];
    struct fl_signature s;
    int r;

    if (strnlen(text, FL_SIGNATURE_MAX_BYTES + 1) <= FL_SIGNATURE_MAX_BYTES)
        copy = fl_arena_strdup(arena, text);
    if (!copy)
        return no_room(err, -EINVAL);
    for (size_t i = 0; i < N_FIELDS; i++)
        field[i] = strsep(&copy, ":");
    if (!field[N_FIELDS - 1] || copy || strcmp(field[0], MAGIC) != 0)
        return fl_err_set(err, -EINVAL, NULL, "signature: not of the form " MAGIC ":KEY:…");
    s = (struct fl_signature){ .key = field[1],
                               .not_before_s = strtoll(field[2], NULL, 10),
                               .not_after_s = strtoll(field[3], NULL, 10),
                               .nonce = field[4],
                               .targets = field[5],
                               .sig = field[6] };
    r = fl_signature_format(&s, &again, err);
    if (r < 0)
        return r;
    /* One signature has one text: numbers with other digits and the like are none. */
    if (strcmp(again.data, text) != 0)
        return fl_err_set(err, -EINVAL, NULL, "signature: not as it was written");
    *ret_sig = s;
    return 0;
}

bool fl_signature_targets(const struct fl_signature *s, const char *node_id, char *const *labels,
                          size_t n_labels)
{
    const char *list = s->targets, *at;
    size_t len;

    while ((at = next_target(&list, &len))) {
        if ((len == 1 && *at == '*') || (strlen(node_id) == len && memcmp(at, node_id, len) == 0))
            return true;
        for (size_t i = 0; *at == '@' && i < n_labels; i++)
            if (strlen(labels[i]) == len - 1 && memcmp(at + 1, labels[i], len - 1) == 0)
                return true;
    }
    return false;
}
