/* nearest.c - see nearest.h. */
#include "common/base/nearest.h"
#include <string.h>
#include "common/base/util.h"

#define MAX_CHARS    64
#define MIN_PREFIX   3
#define LETTERS_EACH 3

/* Optimal string alignment: rows of the table one after the other, of which three are looked at. */
static unsigned distance_of(const char *a, size_t n, const char *b, size_t m)
{
    unsigned rows[3][MAX_CHARS + 1];

    for (size_t j = 0; j <= m; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned *now = rows[i % 3], *before = rows[(i + 2) % 3], *before2 = rows[(i + 1) % 3];

        now[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned changed = before[j - 1] + (a[i - 1] != b[j - 1]);

            now[j] = FL_MIN(changed, FL_MIN(before[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = FL_MIN(now[j], before2[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

void fl_nearest_add(struct fl_nearest *n, const char *name)
{
    size_t len = strlen(n->word), name_len = strlen(name);
    unsigned distance;

    if (len == 0 || len > MAX_CHARS || name_len > MAX_CHARS)
        return;
    if (len >= MIN_PREFIX && strncmp(name, n->word, len) == 0)
        distance = 1;
    else
        distance = distance_of(n->word, len, name, name_len);
    if (distance > FL_MAX(len / LETTERS_EACH, (size_t)1) || distance >= len)
        return;
    if (n->found && distance >= n->distance)
        return;
    n->found = name;
    n->distance = distance;
}
