/* main.c - fairlead-agent-holder (holder.h). */
#include "agent/holder/holder.h"

int main(int argc, char **argv)
{
    return fl_holder_main(argc, argv);
}
