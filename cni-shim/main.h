#ifndef OVNBRIDGE_MAIN_H
#define OVNBRIDGE_MAIN_H

/* The whole plug-in, called by start.c; the result is the exit status. */
int run(char *const *environment);

#endif
