/* fixture.h - a plane without sockets for unit tests: a temporary store, presence, bus, metrics,
 * and calls into operations as the dispatcher makes them, minus HTTP, signatures and policies.
 *
 *     struct fl_fixture f;
 *
 *     fl_fixture_open(&f);
 *     fl_fixture_ok(&f, "CreateActivation", "{\"IamRole\":\"fleet\"}");
 *     assert_string_equal(fl_fixture_text(&f, "ActivationId"), …);
 *     fl_fixture_close(&f);
 */
#pragma once
#include "server/plane.h"

#define FL_FIXTURE_LOST_MS 12000 /* conf.session_lost_ms */

struct fl_fixture {
    struct fl_plane plane;
    struct fl_identity who; /* of the calls that follow; an administrator at first */
    int64_t now_ms;         /* time of the calls that follow; stands still unless moved */
    char dir[64];           /* temporary, removed at the end */
    char *reply;            /* JSON of the last successful call */
    struct fl_err err;      /* of the last failed call */
    char node_id[24];       /* who.node_id after fl_fixture_as_node */
};

/* Fail the running test if something goes wrong. */
void fl_fixture_open(struct fl_fixture *f);
void fl_fixture_close(struct fl_fixture *f);

/* The same for cmocka; the fixture is *state. */
int fl_fixture_setup(void **state);
int fl_fixture_teardown(void **state);

/* Calls an operation of the service "ssm" (or "service:Name") with a JSON request: decodes it,
 * checks the model's constraints, runs the handler in its lane, commits, publishes, encodes. 0 with
 * f->reply, or a negative errno with f->err. */
int fl_fixture_call(struct fl_fixture *f, const char *op, const char *request);

/* The same where only one outcome is right: success, or the API error `name`. */
void fl_fixture_ok(struct fl_fixture *f, const char *op, const char *request);
void fl_fixture_fails(struct fl_fixture *f, const char *op, const char *request, const char *name);

/* A value of the last reply by path: "ActivationList.0.Tags.0.Key"; strings as they are, others as
 * JSON text; NULL if there is none. Valid until the next call. */
const char *fl_fixture_text(struct fl_fixture *f, const char *path);

/* Number of elements of a list of the last reply; -1 if it is none. */
int fl_fixture_count(struct fl_fixture *f, const char *path);

/* Who calls from now on. */
void fl_fixture_as_admin(struct fl_fixture *f);
void fl_fixture_as_node(struct fl_fixture *f, const char *node_id);

/* Writes a registered, Linux node with a random id straight into the store; the id is static until
 * the next call of it. `tag_value` (of the tag Env) may be NULL. */
const char *fl_fixture_node(struct fl_fixture *f, const char *tag_value);

/* Runs fn(call, arg) in one transaction as a handler would be; its return, after the commit. */
int fl_fixture_run(struct fl_fixture *f, enum fl_lane lane,
                   int (*fn)(struct fl_call *call, void *arg), void *arg);
