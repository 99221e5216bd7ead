/* Events of a session's runs: what took how long. NULL is a profile that is off. */
#ifndef WHET_PROFILE_H
#define WHET_PROFILE_H

#include "base/base.h"

typedef struct Executable Executable;

typedef struct Profile Profile;
Profile *profile_new(const whet_allocator *allocator); /* NULL: out of memory */
void profile_free(Profile *profile);
void profile_start(Profile *profile); /* a new run: forgets the events of the last one */
/* Something that began at `start` (clock_now) and ends now. `kind` is static. */
void profile_note(Profile *profile, const char *kind, const char *name, double start);
void profile_note_kernel(Profile *profile, const char *name, const Executable *executable, double start);
int profile_count(const Profile *profile);
const whet_event *profile_event(const Profile *profile, int index);

#endif
