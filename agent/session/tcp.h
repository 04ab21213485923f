/* tcp.h - connections of the node's side of port forwarding: which addresses, which are forbidden,
 * connecting to one after the other.
 */
#pragma once
#include <sys/socket.h>
#include "common/base/err.h"
#include "common/base/loop.h"
#include "common/codec/codec.h"

#define FL_TCP_MAX_ADDRESSES 8

struct fl_tcp_target {
    struct sockaddr_storage addresses[FL_TCP_MAX_ADDRESSES];
    size_t n;        /* 0: the name means nothing here, */
    const char *why; /* for then: the resolver's words */
    char name[300];  /* "host:port", for words */
};

/* This machine, on the loopback. */
void fl_tcp_local(uint16_t port, struct fl_tcp_target *ret_target);

struct fl_tcp_lookup;
/* `target` is the caller's object of fl_tcp_find, filled. */
typedef void (*fl_tcp_found_fn)(void *arg);

/* Looks the name up (it may be an address) on the pool; `fn` runs once. 0 or -ENOMEM. */
int fl_tcp_find(struct fl_loop *loop, const char *host, uint16_t port, struct fl_tcp_target *target,
                fl_tcp_found_fn fn, void *arg, struct fl_tcp_lookup **ret_lookup);
/* No callback; `target` is not touched any more. NULL is fine, and one that has called back is gone
 * already. */
void fl_tcp_forget(struct fl_tcp_lookup *lookup);

/* True if one of the addresses is on the list; the address is written to `out`. */
bool fl_tcp_is_denied(const struct fl_tcp_target *target, const struct fl_strs *list, char out[64]);

struct fl_tcp_dial;
/* `fd` is the caller's, or -1 and `r` why: of the first address. The object is gone. */
typedef void (*fl_tcp_dialled_fn)(void *arg, int fd, int r);

/* Each address in turn; the callback comes later than the return. 0 or -ENOMEM. */
int fl_tcp_dial(struct fl_loop *loop, const struct fl_tcp_target *target, fl_tcp_dialled_fn fn,
                void *arg, struct fl_tcp_dial **ret_dial);
/* Why one did not come about, in words. */
const char *fl_tcp_why(const struct fl_tcp_target *target, int r);
/* No callback. NULL is fine. */
struct fl_tcp_dial *fl_tcp_cancel(struct fl_tcp_dial *dial);
