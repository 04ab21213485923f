/* main.c - fairlead-agent-worker: a program of its own, so that the monitor, which is there always,
 * does not carry the libraries that documents are read and checked with. */
#include "agent/worker/worker.h"

int main(int argc, char **argv)
{
    return fl_worker_main(argc, argv);
}
