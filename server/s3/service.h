/* service.h - the s3 subset as a part of the plane: its files and names, and what the clock does.
 */
#pragma once
#include "server/plane.h"

/* After the store is open: sets plane->s3. */
int fl_s3_open(struct fl_plane *plane, struct fl_err *err);
struct fl_s3 *fl_s3_free(struct fl_s3 *s3);
