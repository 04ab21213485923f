/* main.c - fairlead-agent-holder (holder.h). */
#include "agent/holder/holder.h"
#include "agent/lib/begun.h"

int main(int argc, char **argv)
{
    if (!fl_begun("fairlead-agent-holder", argc == 2 && *argv[1] == '/'))
        return 2;
    return fl_holder_main(argc, argv);
}
