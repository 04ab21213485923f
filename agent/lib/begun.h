/* begun.h - the programs that only the agent starts: what they say to a person who does. */
#pragma once
#include <stdbool.h>

/* Whether this descriptor is a socket, as one that a program was given to its parent. */
bool fl_begun_with_socket(int fd);

/* First of all in main(): `as_meant`; false after words on standard error, then main() returns 2.
 */
bool fl_begun(const char *program, bool as_meant);
