/* notify.h - telling systemd how the service does (sd_notify's protocol, without its library). */
#pragma once

/* Sends e.g. "READY=1" to the socket named by NOTIFY_SOCKET, if there is one. */
void fl_notify(const char *state);
