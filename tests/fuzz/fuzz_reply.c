/* agent_job_reply payloads, one a line: decoded, and their steps merged forwards and backwards,
 * which must come to the same. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "server/command/result.h"

#define MAX_LINES 64
#define MAX_KEPT  256

struct kept {
    const struct fl_step_result *v[MAX_KEPT];
    size_t n;
};

static void keep(struct kept *k, const struct fl_reply *reply)
{
    for (size_t i = 0; i < reply->n_steps; i++) {
        const struct fl_step_result *s = &reply->steps[i];
        size_t j = 0;

        while (j < k->n && strcmp(k->v[j]->step, s->step) != 0)
            j++;
        if (j == MAX_KEPT)
            continue;
        if (j == k->n)
            k->v[k->n++] = s;
        else if (fl_step_replaces(k->v[j], s))
            k->v[j] = s;
    }
}

/* Equal in everything that is stored. */
static bool same(const struct fl_step_result *a, const struct fl_step_result *b)
{
    return !fl_step_replaces(a, b) && !fl_step_replaces(b, a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fl_reply replies[MAX_LINES];
    static struct kept forth, back;
    fl_autoarena struct fl_arena arena = FL_ARENA(8 * 1024 * 1024);
    const char *p = (const char *)data, *end = p + size;
    size_t n = 0;

    forth.n = back.n = 0;
    while (p < end && n < MAX_LINES) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((nl ? nl : end) - p);

        if (fl_reply_decode(p, len, &arena, &replies[n], NULL) == 0)
            n++;
        p += len + 1;
    }
    for (size_t i = 0; i < n; i++) {
        keep(&forth, &replies[i]);
        keep(&back, &replies[n - 1 - i]);
    }
    if (forth.n < MAX_KEPT && back.n < MAX_KEPT) {
        assert(forth.n == back.n);
        for (size_t i = 0; i < forth.n; i++)
            for (size_t j = 0; j < back.n; j++)
                if (strcmp(forth.v[i]->step, back.v[j]->step) == 0)
                    assert(same(forth.v[i], back.v[j]));
    }
    return 0;
}
