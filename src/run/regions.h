/* Memory of packed weights. */
#ifndef WHET_RUN_REGIONS_H
#define WHET_RUN_REGIONS_H

#include "base/base.h"

typedef struct Region Region;

typedef struct Regions {
    const whet_allocator *allocator; /* not NULL: asked for each piece alone */
    size_t expected;                 /* bytes in all, roughly */
    Region *first;
} Regions;

void *regions_take(Regions *r, size_t bytes); /* NULL: out of memory */
void regions_give(Regions *r, void *data, size_t bytes);

#endif
