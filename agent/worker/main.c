/* main.c - fairlead-agent-worker: a program of its own, so that the monitor, which is there always,
 * does not carry the libraries that documents are read and checked with. */
#include "agent/lib/begun.h"
#include "agent/worker/worker.h"

/* Its document's, among other words. */
static bool has_folder(int argc, char **argv)
{
    while (--argc > 0 && *argv[argc] != '/')
        ;
    return argc > 0;
}

int main(int argc, char **argv)
{
    if (!fl_begun("fairlead-agent-worker", has_folder(argc, argv)))
        return 2;
    return fl_worker_main(argc, argv);
}
