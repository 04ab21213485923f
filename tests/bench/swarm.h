/* swarm.h - thousands of nodes in one process, against a real plane; what its parts share.
 *
 * A node here is the agent's own network code (agent/net: channel.c, health.c, dispatch.c) and its
 * own replies (agent/monitor/reply.c), so that timing, back-off and every byte are the agent's.
 * What is replaced: the fetch process by swarm_http.c (one connection a node, kept as long as a
 * fetch process lives), the monitor by swarm_node.c (a script that says "hi" at once, nothing on
 * disk).
 *
 * swarm.c reads commands and answers in JSON; swarm_load.c makes API calls at a rate.
 */
#pragma once
#include "agent/net/net.h"
#include "common/aws/sigv4.h"
#include "common/net/dial.h"

struct sw_stats {
    int64_t nodes;      /* started */
    int64_t registered; /* have an id */
    int64_t online;     /* have an open control channel */
    int64_t opens, losses, failed_opens;
    int64_t pings, health_pings;
    int64_t jobs;       /* distinct ones, run */
    int64_t duplicates; /* jobs that came once more */
    int64_t cancels;
    int64_t replies;       /* distinct ones that the plane must acknowledge */
    int64_t replies_acked; /* of them */
    int64_t replies_sent;  /* times one of them was sent */
    int64_t unknown_acks;  /* for replies that were never made, or acknowledged before */
    int64_t calls, connections;
};

struct sw {
    struct fl_loop *loop;
    struct fl_dialer *dialer;
    struct fl_ws_client *ws_client;
    const char *url;     /* https://host:port */
    char authority[256]; /* host:port */
    const char *region;
    struct fl_aws_creds admin; /* who calls the API */
    int64_t health_ms;
    struct sw_stats stats;
};

/* ---- swarm_http.c: one connection, one call at a time ---- */
struct sw_http;
struct sw_answer {
    int r; /* 0: an answer of any status came */
    int status;
    const char *body; /* "" if none */
    size_t body_len;
    const char *date;
};
/* The answer dies with the callback. The callback may start the next call or free the object. */
typedef void (*sw_http_fn)(void *arg, const struct sw_answer *answer);

struct sw_call {
    const char *service, *target, *path, *body; /* target NULL: REST */
    const struct fl_aws_creds *creds;           /* NULL: unsigned, or by `rsa` */
    const struct fl_rsa *rsa;                   /* with node_id */
    const char *node_id;
    uint32_t timeout_ms;
};

/* The connection is closed after `idle_ms` without a call. */
struct sw_http *sw_http_new(struct sw *sw, uint32_t idle_ms);
struct sw_http *sw_http_free(struct sw_http *h);
bool sw_http_busy(const struct sw_http *h);
/* 0, -EBUSY, or what signing says; then nothing is called back. */
int sw_http_call(struct sw_http *h, const struct sw_call *call, sw_http_fn done, void *arg);

/* ---- swarm_node.c ---- */
struct sw_fleet;

/* Lives as long as the process. */
int sw_fleet_new(struct sw *sw, struct sw_fleet **ret_fleet);
/* Registrations that are allowed; `limit` of them from one activation, each with a key of its own.
 */
int sw_fleet_activation(struct sw_fleet *fleet, const char *id, const char *code, unsigned limit);
/* Makes `n` more nodes and brings them online, at most `at_once` at a time. */
int sw_fleet_start(struct sw_fleet *fleet, unsigned n, unsigned at_once);
/* Cuts the connections of the first `n` open channels at once; the nodes do what agents do then. */
unsigned sw_fleet_drop(struct sw_fleet *fleet, unsigned n);
/* A WebSocket ping from every open channel, spread over `ms`. */
void sw_fleet_ping(struct sw_fleet *fleet, unsigned ms);
const char *sw_fleet_node_id(const struct sw_fleet *fleet,
                             unsigned index); /* NULL: not registered */
/* "<command id> <node id> <times it came>\n" for every job that came. 0 or a negative errno. */
int sw_fleet_write_jobs(const struct sw_fleet *fleet, const char *path);
/* From now on tries to open and opens are counted by time; the report is JSON members. */
void sw_fleet_mark(struct sw_fleet *fleet);
int sw_fleet_spread(const struct sw_fleet *fleet, struct fl_buf *out);
int sw_fleet_errors(const struct sw_fleet *fleet, struct fl_buf *out);
int64_t sw_fleet_pings(void); /* of all channels, since the start */

/* ---- swarm_load.c ---- */
struct sw_load;
struct sw_load_conf {
    const char *operation; /* "SendCommand", "ListCommands", "DescribeInstanceInformation" */
    double rate;           /* calls a second */
    double seconds;        /* 0: until sw_load_stop */
    unsigned connections;  /* kept ones; 0: a fresh one for every call */
    unsigned nodes;        /* SendCommand: to the first so many, in turn */
    const char *ids_path;  /* SendCommand: ids of accepted commands go here, a line each */
};
int sw_load_new(struct sw *sw, const struct sw_fleet *fleet, const struct sw_load_conf *conf,
                struct sw_load **ret_load);
void sw_load_stop(struct sw_load *load);
/* One JSON object: whether it is over, counts by outcome, latency in ms. */
int sw_load_report(struct sw_load *load, struct fl_buf *out);
void sw_load_free(struct sw_load *load);
