/* pam.c - see pam.h. The few declarations are Linux-PAM's, whose ABI has not changed since 1.0. */
#include "agent/holder/pam.h"
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include "agent/holder/tree.h"
#include "agent/lib/text.h"
#include "common/base/log.h"

#define ANSWER_S 60
#define LATE_S   5 /* after which the process ends whatever its watch does */

#define PAM_SUCCESS        0
#define PAM_CONV_ERR       19
#define PAM_BUF_ERR        5
#define PAM_TTY            3
#define PAM_ESTABLISH_CRED 2
#define PAM_DELETE_CRED    4
#define PAM_ERROR_MSG      3
#define PAM_TEXT_INFO      4

struct pam_handle;
struct pam_message {
    int msg_style;
    const char *msg;
};
struct pam_response {
    char *resp;
    int resp_retcode;
};
struct pam_conv {
    int (*conv)(int n, const struct pam_message **messages, struct pam_response **responses,
                void *arg);
    void *arg;
};

struct calls {
    int (*start)(const char *service, const char *user, const struct pam_conv *conv,
                 struct pam_handle **ret);
    int (*end)(struct pam_handle *h, int status);
    int (*set_item)(struct pam_handle *h, int item, const void *value);
    int (*acct_mgmt)(struct pam_handle *h, int flags);
    int (*setcred)(struct pam_handle *h, int flags);
    int (*open_session)(struct pam_handle *h, int flags);
    int (*close_session)(struct pam_handle *h, int flags);
    char **(*getenvlist)(struct pam_handle *h);
    const char *(*strerror)(struct pam_handle *h, int error);
};

struct fl_pam {
    void *library;
    struct calls call;
    struct pam_handle *handle;
    struct pam_conv conv;
    bool has_cred, is_open;
    int status;
    char **env;
    struct fl_buf *text; /* while it is opened */
};

/* ---- modules that do not answer ---- */

/* While modules run. A thread, as what they started has to be looked for: they put it into sessions
 * of its own, and it would be nobody's with this process gone. */
struct watch {
    pthread_t thread;
    int over_fd; /* -1: there is none */
};

static void *keep_watch(void *arg)
{
    const struct watch *w = arg;
    struct pollfd over = { .fd = w->over_fd, .events = POLLIN };

    if (poll(&over, 1, ANSWER_S * 1000) == 0) {
        fl_tree_kill(0);
        kill(getpid(), SIGALRM);
    }
    return NULL;
}

static void begin_watch(struct watch *w)
{
    sigset_t all, before;

    sigfillset(&all);
    w->over_fd = eventfd(0, EFD_CLOEXEC);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (w->over_fd >= 0 && pthread_create(&w->thread, NULL, keep_watch, w) != 0)
        close(FL_TAKE_FD(w->over_fd));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    alarm(ANSWER_S + LATE_S);
}

static void end_watch(struct watch *w)
{
    alarm(0);
    if (w->over_fd < 0)
        return;
    eventfd_write(w->over_fd, 1);
    pthread_join(w->thread, NULL);
    close(FL_TAKE_FD(w->over_fd));
}

/* ---- the library ---- */

static const struct {
    const char *name;
    size_t offset;
} symbols[] = {
    { "pam_start", offsetof(struct calls, start) },
    { "pam_end", offsetof(struct calls, end) },
    { "pam_set_item", offsetof(struct calls, set_item) },
    { "pam_acct_mgmt", offsetof(struct calls, acct_mgmt) },
    { "pam_setcred", offsetof(struct calls, setcred) },
    { "pam_open_session", offsetof(struct calls, open_session) },
    { "pam_close_session", offsetof(struct calls, close_session) },
    { "pam_getenvlist", offsetof(struct calls, getenvlist) },
    { "pam_strerror", offsetof(struct calls, strerror) },
};

static int load(struct fl_pam *pam, struct fl_err *err)
{
    pam->library = dlopen("libpam.so.0", RTLD_NOW);
    if (!pam->library)
        return fl_err_set(err, -ENOENT, NULL, "PAM: %s", dlerror());
    for (size_t i = 0; i < FL_ARRAY_LEN(symbols); i++) {
        void *symbol = dlsym(pam->library, symbols[i].name);

        if (!symbol)
            return fl_err_set(err, -ENOENT, NULL, "PAM: libpam.so.0 has no %s", symbols[i].name);
        memcpy((char *)&pam->call + symbols[i].offset, &symbol, sizeof(symbol));
    }
    return 0;
}

/* Modules may tell, but not ask. */
static int converse(int n, const struct pam_message **messages, struct pam_response **responses,
                    void *arg)
{
    struct fl_pam *pam = arg;

    for (int i = 0; i < n; i++) {
        int style = messages[i]->msg_style;

        if (style != PAM_ERROR_MSG && style != PAM_TEXT_INFO)
            return PAM_CONV_ERR;
        if (pam->text && messages[i]->msg)
            fl_buf_printf(pam->text, "%s\r\n", messages[i]->msg); /* as far as it fits */
    }
    *responses = calloc((size_t)n, sizeof(**responses));
    return *responses ? PAM_SUCCESS : PAM_BUF_ERR;
}

static bool has_service(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "/etc/pam.d/%s", name);
    return access(path, R_OK) == 0;
}

static const char *choose(const char *service)
{
    static const char *const usual[] = { "fairlead", "su-l" };

    if (service)
        return strcmp(service, "none") == 0 ? NULL : service;
    for (size_t i = 0; i < FL_ARRAY_LEN(usual); i++)
        if (has_service(usual[i]))
            return usual[i];
    return NULL;
}

static int refused(struct fl_pam *pam, const char *what, struct fl_err *err)
{
    return fl_err_set(err, -EACCES, NULL, "PAM refuses the session (%s): %s", what,
                      pam->call.strerror(pam->handle, pam->status));
}

static int open_session(struct fl_pam *pam, const char *service, const char *user, const char *tty,
                        struct fl_err *err)
{
    pam->status = pam->call.start(service, user, &pam->conv, &pam->handle);
    if (pam->status != PAM_SUCCESS)
        return fl_err_set(err, -EACCES, NULL, "PAM: service %.60s cannot be used", service);
    if (tty)
        pam->call.set_item(pam->handle, PAM_TTY, tty);
    pam->status = pam->call.acct_mgmt(pam->handle, 0);
    if (pam->status != PAM_SUCCESS)
        return refused(pam, "account", err);
    pam->status = pam->call.setcred(pam->handle, PAM_ESTABLISH_CRED);
    if (pam->status != PAM_SUCCESS)
        return refused(pam, "credentials", err);
    pam->has_cred = true;
    pam->status = pam->call.open_session(pam->handle, 0);
    if (pam->status != PAM_SUCCESS)
        return refused(pam, "session", err);
    pam->is_open = true;
    pam->env = pam->call.getenvlist(pam->handle);
    return 0;
}

int fl_pam_open(const char *service, const char *user, const char *tty, struct fl_buf *text,
                struct fl_pam **ret_pam, struct fl_err *err)
{
    const char *name = choose(service);
    struct watch watch;
    struct fl_pam *pam;
    int r;

    *ret_pam = NULL;
    if (!name)
        return 0;
    pam = calloc(1, sizeof(*pam));
    if (!pam)
        return fl_err_nomem(err);
    pam->conv = (struct pam_conv){ converse, pam };
    pam->text = text;
    begin_watch(&watch);
    r = load(pam, err);
    if (r == 0)
        r = open_session(pam, name, user, tty, err);
    end_watch(&watch);
    pam->text = NULL;
    if (r == 0) {
        *ret_pam = pam;
        return 0;
    }
    fl_pam_close(pam);
    /* A system without PAM that nobody asked to use it. */
    return r == -ENOENT && !service ? 0 : r;
}

char *const *fl_pam_env(const struct fl_pam *pam)
{
    return pam ? pam->env : NULL;
}

struct fl_pam *fl_pam_close(struct fl_pam *pam)
{
    struct watch watch;

    if (!pam)
        return NULL;
    begin_watch(&watch);
    if (pam->is_open)
        pam->status = pam->call.close_session(pam->handle, 0);
    if (pam->has_cred)
        pam->status = pam->call.setcred(pam->handle, PAM_DELETE_CRED);
    if (pam->handle)
        pam->call.end(pam->handle, pam->status);
    end_watch(&watch);
    for (char **e = pam->env; e && *e; e++)
        free(*e);
    free(pam->env);
    /* The library stays: modules may have threads or handlers at exit. */
    free(pam);
    return NULL;
}
