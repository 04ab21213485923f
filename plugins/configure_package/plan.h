/* plan.h - what is done to a package, in which order, and what when it fails (protocol 4 §5.4).
 * Pure: two tables.
 *
 * The state file says which stage was under way, and whether its script asked for a reboot: then it
 * is run again. One that was interrupted otherwise has left nothing to rely on, which is taken off
 * before the package is installed anew.
 */
#pragma once
#include "common/base/util.h"

/* As the state file has them. */
enum fl_package_state {
    FL_PACKAGE_NONE,
    FL_PACKAGE_UNKNOWN,
    FL_PACKAGE_FAILED,
    FL_PACKAGE_UNINSTALLING,
    FL_PACKAGE_UNINSTALLED,
    FL_PACKAGE_NEW,
    FL_PACKAGE_UPGRADING,
    FL_PACKAGE_INSTALLING,
    FL_PACKAGE_INSTALLED,
    FL_PACKAGE_ROLLBACK_UNINSTALL,
    FL_PACKAGE_ROLLBACK_INSTALL,
    FL_PACKAGE_UPDATING,
    FL_PACKAGE_STATE__N,
};

enum fl_package_stage {
    FL_STAGE_VALIDATE,     /* what is installed */
    FL_STAGE_CLEAN,        /* take off what is broken or changed, of whatever version; may fail */
    FL_STAGE_CLEAN_NEW,    /* the same for a version whose installation was interrupted */
    FL_STAGE_REMOVE_OLD,   /* before another version */
    FL_STAGE_INSTALL,      /* with nothing to go back to */
    FL_STAGE_INSTALL_OVER, /* in place of the old version */
    FL_STAGE_UNDO,         /* that did not work */
    FL_STAGE_RESTORE,      /* the old version again */
    FL_STAGE_UPDATE,       /* in place */
    FL_STAGE_UNINSTALL,
    FL_STAGE__SCRIPTS, /* the stages before are scripts, those from here on ends */
    FL_STAGE_DONE = FL_STAGE__SCRIPTS,
    FL_STAGE_UNCHANGED, /* installed already */
    FL_STAGE_ABSENT,    /* there is nothing to uninstall */
    FL_STAGE_GONE,
    FL_STAGE_FAILED,   /* what is there now is nothing to rely on */
    FL_STAGE_RESTORED, /* failed, and the old version is there */
};

struct fl_package_step {
    const char *script;          /* "install" */
    bool of_old;                 /* the old version's script */
    bool must_exist;             /* without a script it has failed; else there is nothing to do */
    enum fl_package_state state; /* meanwhile; NONE: it stays as it is */
    enum fl_package_stage good, bad;
};
const struct fl_package_step *fl_package_step(enum fl_package_stage stage);

/* What is there, and what is wanted. */
struct fl_package_facts {
    bool uninstall, in_place;
    enum fl_package_state state;
    bool same_version; /* the state's is the one that is wanted (or any is) */
    bool whole;        /* its files are on the node, from the same manifest */
    bool has_old;      /* the state names an older version, which is another */
    bool rebooted;     /* the stage of the state asked for a reboot */
};
enum fl_package_stage fl_package_begin(const struct fl_package_facts *facts);
