/* optwords.h - what getopt_long() found wrong with a command line, in words of ours. */
#pragma once
#include <getopt.h>
#include <stddef.h>

/* To be called when getopt_long() has returned '?' or ':', with opterr 0 and the letters beginning
 * with ':' (behind a '+'). Gives `buf`, in which stands for example
 *     there is no option --jsn; did you mean --json?
 *     --data needs a value */
const char *fl_option_words(char *const *argv, int result, const struct option *options, char *buf,
                            size_t size);
