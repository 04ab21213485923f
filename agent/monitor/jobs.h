/* jobs.h - the jobs of this node: accepted, queued, run by workers, reported until acknowledged.
 *
 * Everything that must survive is in the job folders (agent/lib/jobdir.h); what is here can be lost
 * at any time and is found again by fl_jobs_new. Rules: protocol 2 §3.3-§3.5 and §5.
 */
#pragma once
#include "agent/lib/config.h"
#include "agent/lib/ipc_net.h"
#include "agent/lib/paths.h"
#include "agent/lib/platform.h"
#include "agent/monitor/fetchproc.h"
#include "agent/monitor/policyfile.h"

/* Jobs that are not over: running, queued, or with replies nobody acknowledged. More are refused.
 */
#define FL_JOBS_MAX_OPEN 10000
/* Replies nobody acknowledged for so long are given up, as are their job ids. */
#define FL_JOBS_KEEP_MS  (7LL * 24 * 3600 * 1000)

struct fl_jobs;

/* How messages leave. Non-zero: net is not there; fl_jobs_online tells when it is again. */
struct fl_jobs_out {
    int (*ack)(void *arg, const struct fl_net_job_ack *ack);
    int (*reply)(void *arg, const struct fl_net_job_reply *reply);
    void *arg;
};

/* All pointers outlive the object. */
struct fl_jobs_conf {
    struct fl_loop *loop;
    const char *state_dir;
    const struct fl_agent_config *config;
    const struct fl_platform *platform;
    const char *node_id, *region;
    const char *program; /* this executable: "/proc/self/exe" */
    const char *worker;  /* path of fairlead-agent-worker */
    const struct fl_paths *paths;
    struct fl_policyfile *policy; /* NULL: there is none, ever */
    struct fl_jobs_out out;
    struct fl_fetch_source fetch;
};

/* Finds the jobs on disk, attaches to workers that live, starts what was waiting. */
int fl_jobs_new(const struct fl_jobs_conf *conf, struct fl_jobs **ret_jobs, struct fl_err *err);

/* Workers go on by themselves. */
struct fl_jobs *fl_jobs_free(struct fl_jobs *jobs);

/* A job or cancel from the control channel: always answered with one ack, at once or when the job
 * is on disk. */
void fl_jobs_handle(struct fl_jobs *jobs, const struct fl_net_job *in);

void fl_jobs_acked(struct fl_jobs *jobs, const char *message_id);

/* The control channel is open (again): whatever is not acknowledged is sent. Or closed. */
void fl_jobs_online(struct fl_jobs *jobs, bool online);

/* From now on jobs are refused with FL_ACK_CLOSED. */
void fl_jobs_close(struct fl_jobs *jobs);

/* The control groups of documents; sessions have theirs among them. */
struct fl_doclimit;
struct fl_doclimit *fl_jobs_limit(struct fl_jobs *jobs);

struct fl_jobs_counts {
    size_t running, queued, waiting, unacked_replies; /* waiting: for a reboot */
};
struct fl_jobs_counts fl_jobs_count(const struct fl_jobs *jobs);

/* Calls fn for each job that is not over; `state` is a word or two for people. */
typedef void (*fl_jobs_each_fn)(void *arg, const char *command_id, const char *document_name,
                                int64_t accepted_ms, const char *state);
void fl_jobs_each(const struct fl_jobs *jobs, fl_jobs_each_fn fn, void *arg);
