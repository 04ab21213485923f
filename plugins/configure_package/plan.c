/* plan.c - see plan.h. */
#include "plugins/configure_package/plan.h"

static const struct fl_package_step steps[FL_STAGE__SCRIPTS] = {
#define S(stage, ...) [FL_STAGE_##stage] = { __VA_ARGS__ }
    S(VALIDATE, "validate", false, false, FL_PACKAGE_NONE, FL_STAGE_UNCHANGED, FL_STAGE_CLEAN),
    S(CLEAN, "uninstall", true, false, FL_PACKAGE_UPGRADING, FL_STAGE_INSTALL, FL_STAGE_INSTALL),
    S(CLEAN_NEW, "uninstall", false, false, FL_PACKAGE_INSTALLING, FL_STAGE_INSTALL,
      FL_STAGE_INSTALL),
    S(REMOVE_OLD, "uninstall", true, false, FL_PACKAGE_UPGRADING, FL_STAGE_INSTALL_OVER,
      FL_STAGE_RESTORE),
    S(INSTALL, "install", false, false, FL_PACKAGE_INSTALLING, FL_STAGE_DONE, FL_STAGE_FAILED),
    S(INSTALL_OVER, "install", false, false, FL_PACKAGE_INSTALLING, FL_STAGE_DONE, FL_STAGE_UNDO),
    S(UNDO, "uninstall", false, false, FL_PACKAGE_ROLLBACK_UNINSTALL, FL_STAGE_RESTORE,
      FL_STAGE_RESTORE),
    S(RESTORE, "install", true, false, FL_PACKAGE_ROLLBACK_INSTALL, FL_STAGE_RESTORED,
      FL_STAGE_FAILED),
    S(UPDATE, "update", false, true, FL_PACKAGE_UPDATING, FL_STAGE_DONE, FL_STAGE_FAILED),
    S(UNINSTALL, "uninstall", false, false, FL_PACKAGE_UNINSTALLING, FL_STAGE_GONE,
      FL_STAGE_FAILED),
#undef S
};

const struct fl_package_step *fl_package_step(enum fl_package_stage stage)
{
    return &steps[stage];
}

/* Sets of states. */
#define BIT(s)   (1u << FL_PACKAGE_##s)
#define NOTHING  (BIT(NONE) | BIT(UNINSTALLED) | BIT(NEW))
#define ANYTHING (~0u & ~NOTHING)
enum { NO, YES, EITHER };

/* clang-format off */
/* First match rules. */
static const struct {
    unsigned char uninstall, in_place, same, whole, has_old, rebooted;
    unsigned states;
    enum fl_package_stage stage;
} begins[] = {
    /* uninstall  in place  same     whole    has old  rebooted */
    { YES,        EITHER,   EITHER,  EITHER,  EITHER,  EITHER,  NOTHING,                 FL_STAGE_ABSENT },
    { YES,        EITHER,   NO,      EITHER,  EITHER,  EITHER,  ANYTHING,                FL_STAGE_ABSENT },
    { YES,        EITHER,   YES,     EITHER,  EITHER,  EITHER,  ANYTHING,                FL_STAGE_UNINSTALL },

    { NO,         EITHER,   EITHER,  EITHER,  EITHER,  EITHER,  NOTHING,                 FL_STAGE_INSTALL },
    { NO,         EITHER,   YES,     YES,     EITHER,  EITHER,  BIT(INSTALLED),          FL_STAGE_VALIDATE },
    { NO,         YES,      EITHER,  EITHER,  EITHER,  EITHER,  BIT(INSTALLED),          FL_STAGE_UPDATE },
    { NO,         NO,       NO,      EITHER,  EITHER,  EITHER,  BIT(INSTALLED),          FL_STAGE_REMOVE_OLD },

    /* what waited for a reboot for this version goes on */
    { NO,         EITHER,   YES,     YES,     YES,     YES,     BIT(UPGRADING),          FL_STAGE_REMOVE_OLD },
    { NO,         EITHER,   YES,     YES,     YES,     YES,     BIT(INSTALLING),         FL_STAGE_INSTALL_OVER },
    { NO,         EITHER,   YES,     YES,     NO,      YES,     BIT(INSTALLING),         FL_STAGE_INSTALL },
    { NO,         EITHER,   YES,     YES,     YES,     YES,     BIT(ROLLBACK_UNINSTALL), FL_STAGE_UNDO },
    { NO,         EITHER,   YES,     YES,     YES,     YES,     BIT(ROLLBACK_INSTALL),   FL_STAGE_RESTORE },
    { NO,         EITHER,   YES,     YES,     EITHER,  YES,     BIT(UPDATING),           FL_STAGE_UPDATE },

    /* the old version was gone already */
    { NO,         EITHER,   YES,     YES,     YES,     NO,      BIT(INSTALLING) | BIT(ROLLBACK_UNINSTALL),
                                                                                     FL_STAGE_CLEAN_NEW },
    { NO,         EITHER,   EITHER,  EITHER,  EITHER,  EITHER,  ANYTHING,                FL_STAGE_CLEAN },
};

/* clang-format on */

static bool fits(unsigned char want, bool is)
{
    return want == EITHER || (want == YES) == is;
}

enum fl_package_stage fl_package_begin(const struct fl_package_facts *f)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(begins); i++)
        if ((begins[i].states & 1u << f->state) && fits(begins[i].uninstall, f->uninstall) &&
            fits(begins[i].in_place, f->in_place) && fits(begins[i].same, f->same_version) &&
            fits(begins[i].whole, f->whole) && fits(begins[i].has_old, f->has_old) &&
            fits(begins[i].rebooted, f->rebooted))
            return begins[i].stage;
    return FL_STAGE_FAILED;
}
