/* sessions.h - the sessions of this node: accepted, decided about, held by a process each, their
 * ends reported until acknowledged.
 *
 * What must survive is in the sessions' folders (agent/lib/sessiondir.h); what is here can be lost
 * at any time and is found again by fl_sessions_new. Rules: protocol 3 §3, §10.
 */
#pragma once
#include "agent/lib/config.h"
#include "agent/lib/ipc_net.h"
#include "agent/lib/paths.h"
#include "agent/monitor/doclimit.h"
#include "agent/monitor/fetchproc.h"
#include "agent/monitor/policyfile.h"

/* agent_task_complete is sent so often, so far apart, on each opening of the control channel
 * (protocol 3 §10), and given up after so long. */
#define FL_SESSIONS_SENDS   3
#define FL_SESSIONS_SEND_MS 1000
#define FL_SESSIONS_KEEP_MS (24LL * 3600 * 1000)

struct fl_sessions;

/* All pointers outlive the object. */
struct fl_sessions_conf {
    struct fl_loop *loop;
    const struct fl_agent_config *config;
    const struct fl_paths *paths;
    const struct fl_net_start *net; /* what the node is, where its services are */
    const char *kms_url;
    const char *holder;           /* path of fairlead-agent-holder */
    struct fl_policyfile *policy; /* NULL: there is none, ever */
    struct fl_doclimit *limit;    /* NULL: nothing is limited */
    /* How a report leaves. Non-zero: net is not there; fl_sessions_online tells when it is again.
     */
    int (*complete)(void *arg, const struct fl_net_task_complete *complete);
    /* What calls may be signed with now; access_key_id NULL: nothing. */
    struct fl_net_creds (*creds)(void *arg, int64_t *ret_offset_ms);
    void *arg;
    struct fl_fetch_source fetch;
};

/* Finds the sessions on disk and attaches to those that live. */
int fl_sessions_new(const struct fl_sessions_conf *conf, struct fl_sessions **ret_sessions,
                    struct fl_err *err);

/* Those that live go on by themselves. */
struct fl_sessions *fl_sessions_free(struct fl_sessions *s);

/* interactive_shell. A session that is known is not begun again. */
void fl_sessions_handle(struct fl_sessions *s, const struct fl_net_session *in);

/* channel_closed on the control channel: the service ended it. */
void fl_sessions_end(struct fl_sessions *s, const char *session_id);

void fl_sessions_acked(struct fl_sessions *s, const char *message_id);

/* The control channel is open (again), or closed. */
void fl_sessions_online(struct fl_sessions *s, bool online);

/* There are new credentials. */
void fl_sessions_renew(struct fl_sessions *s);

/* From now on sessions are refused. */
void fl_sessions_close(struct fl_sessions *s);

struct fl_session_view {
    const char *session_id, *document_name, *owner;
    const char *state; /* of struct fl_agent_status_session */
    int64_t accepted_ms;
};
/* Those that have not ended, and those whose record is on its way. */
void fl_sessions_each(const struct fl_sessions *s,
                      void (*fn)(void *arg, const struct fl_session_view *view), void *arg);
