/* plane.c - making and ending what the process shares. */
#include "server/plane.h"

#include <errno.h>
#include "common/base/file.h"
#include "server/audit.h"
#include "server/auth/guard.h"
#include "server/auth/known.h"
#include "server/auth/revoked.h"
#include "server/channel/clones.h"
#include "server/conf.h"
#include "server/s3/service.h"
#include "server/session/hub.h"
#include "server/session/transcript.h"

static int open_store(struct fl_plane *plane, struct fl_err *err)
{
    fl_autofree char *path = fl_path_join(plane->conf.data_dir, FL_DATA_DB);
    fl_autofree char *dir = fl_path_join(plane->conf.data_dir, "db");
    const struct fl_store_conf conf = { .path = path,
                                        .must_exist = true,
                                        .readers = plane->conf.readers };
    int r;

    if (!path || !dir)
        return fl_err_nomem(err);
    r = fl_dir_make(dir, 0700, err);
    return r < 0 ? r : fl_store_open(&conf, true, &plane->store, err);
}

int fl_plane_open(struct fl_plane *plane, struct fl_err *err)
{
    int r = open_store(plane, err);

    if (r >= 0 && (fl_bus_new(&plane->bus) < 0 || fl_presence_new(&plane->presence) < 0 ||
                   fl_metrics_new(&plane->metrics) < 0 || fl_revoked_new(&plane->revoked) < 0 ||
                   fl_clones_new(&plane->clones) < 0 || fl_guard_new(&plane->guard) < 0 ||
                   fl_known_new(&plane->known) < 0 || fl_hubs_new(&plane->hubs) < 0))
        r = fl_err_nomem(err);
    if (r >= 0)
        r = fl_revoked_load(plane->revoked, plane, err);
    if (r >= 0)
        r = fl_s3_open(plane, err);
    if (r >= 0)
        r = fl_transcripts_open(plane, err);
    if (r < 0)
        fl_plane_close(plane);
    return r;
}

void fl_plane_close(struct fl_plane *plane)
{
    plane->transcripts = fl_transcripts_free(plane->transcripts);
    plane->store = fl_store_free(plane->store);
    plane->bus = fl_bus_free(plane->bus);
    plane->presence = fl_presence_free(plane->presence);
    plane->metrics = fl_metrics_free(plane->metrics);
    plane->revoked = fl_revoked_free(plane->revoked);
    plane->clones = fl_clones_free(plane->clones);
    plane->guard = fl_guard_free(plane->guard);
    plane->known = fl_known_free(plane->known);
    plane->s3 = fl_s3_free(plane->s3);
    plane->hubs = fl_hubs_free(plane->hubs);
    plane->audit = fl_audit_free(plane->audit);
    fl_wipe(plane->seal_key, sizeof(plane->seal_key));
    fl_wipe(plane->parameter_key, sizeof(plane->parameter_key));
}
