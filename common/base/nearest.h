/* nearest.h - which of some names somebody may have meant who mistyped one.
 *
 *     struct fl_nearest near = { .word = "stauts" };
 *     for (…)
 *         fl_nearest_add(&near, names[i]);
 *     if (near.found)
 *         … "did you mean"
 */
#pragma once

struct fl_nearest {
    const char *word;
    const char *found; /* the nearest name so far, one of those added; NULL: none is near */
    unsigned distance; /* of `found` */
};

/* One more name. It is near if the word is its beginning (three letters at least), or becomes it by
 * few letters changed, left out, put in or swapped: one for every three that the word has. Of those
 * equally near the first stays. */
void fl_nearest_add(struct fl_nearest *n, const char *name);
