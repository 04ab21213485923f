/* state.c - what the monitor is told of this process (net.h). */
#include <string.h>
#include "agent/lib/text.h"
#include "agent/net/net.h"
#include "common/base/clock.h"

static void send_state(struct fl_net *net)
{
    /* Full queue or gone: the monitor will notice both by itself. */
    fl_ipc_send(net->monitor, FL_NET_STATE, 0, &net->state, NULL, 0);
}

void fl_net_set_online(struct fl_net *net, bool online)
{
    if (net->state.online == online)
        return;
    net->state.online = online;
    net->state.since_ms = fl_now_ms();
    if (online) {
        free(net->last_error);
        net->last_error = net->state.last_error = NULL;
        net->state.last_error_ms = 0;
    }
    send_state(net);
}

void fl_net_set_pinged(struct fl_net *net)
{
    net->state.last_ping_ms = fl_now_ms();
    send_state(net);
}

void fl_net_set_error(struct fl_net *net, const char *what, const char *why, bool offline)
{
    struct fl_err words;

    fl_err_set(&words, 0, NULL, "%s: %s", what, why);
    free(net->last_error);
    net->last_error = net->state.last_error = strdup(words.text);
    net->state.last_error_ms = fl_now_ms();
    if (offline && net->state.online) {
        net->state.online = false;
        net->state.since_ms = fl_now_ms();
    }
    send_state(net);
}

void fl_net_note_refusal(struct fl_net *net, const char *error_name)
{
    static const char *const names[] = { "ExpiredToken", "ExpiredTokenException",
                                         "InvalidClientTokenId", "UnrecognizedClientException" };

    /* Told with the failure that follows; taken back by the next credentials. */
    for (size_t i = 0; i < FL_ARRAY_LEN(names); i++)
        if (strcmp(error_name, names[i]) == 0)
            net->state.creds_refused = true;
}

void fl_net_audit(struct fl_net *net, const char *event, const char *subject, const char *detail)
{
    fl_ipc_send(net->monitor, FL_NET_AUDIT, 0,
                &(struct fl_net_audit){ fl_text(event), fl_text(subject), fl_text(detail) }, NULL,
                0);
}
