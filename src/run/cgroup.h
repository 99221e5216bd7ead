/* Limits that Linux control groups put on this process, in either version of them. Elsewhere there are none. */
#ifndef WHET_CGROUP_H
#define WHET_CGROUP_H

#include <stddef.h>

/* `root` stands before every path: "" on a live system, a folder in tests. The tightest limit of the process's own group and
 * those above it counts. */
double cgroup_quota(const char *root);  /* processors' worth of time; 0: no limit */
size_t cgroup_memory(const char *root); /* bytes; 0: no limit */

#endif
