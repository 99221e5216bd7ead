/* Packed weights lie one behind the other in regions of whole large pages. Each in memory of its own, what is smaller than a
 * large page, and the end of what is larger, would lie in small ones, at whose ends no machine fetches ahead: bert-base int8, 8
 * rows, takes 5 % less so, resnet50 int8 2 %. Memory is touched only where weights lie, so a region costs its last page at most.
 *
 * What is given back is a hole, joined with those beside it; a region that is one hole goes. */
#include "run/regions.h"

#include <assert.h>

enum { PAGE = 2 << 20, UNIT = 64, MOST = 128 << 20 };

/* At the beginning of the memory that is free; in the order of addresses. */
typedef struct Hole {
    struct Hole *next;
    size_t bytes;
} Hole;

struct Region {
    struct Region *next;
    char *data;
    size_t bytes;
    Hole *hole;
};

static_assert(sizeof(Hole) <= UNIT, "any piece can become a hole");

/* Small models are not worth a page, and callers want to see the pieces that they give. */
static bool alone(const Regions *r, size_t bytes) {
    return r->allocator || r->expected < PAGE || bytes > INT64_MAX - PAGE;
}

static Hole *hole_at(char *data, size_t bytes, Hole *next) {
    Hole *hole = (Hole *)(void *)data;
    *hole = (Hole){next, bytes};
    return hole;
}

static size_t whole_units(size_t bytes) {
    return (size_t)round_up((int64_t)(bytes ? bytes : 1), UNIT);
}

/* From the first hole that is large enough; NULL: there is none. */
static void *cut(Region *region, size_t bytes) {
    Hole **at = &region->hole;
    while (*at && (*at)->bytes < bytes)
        at = &(*at)->next;
    Hole *hole = *at;
    if (!hole)
        return NULL;
    *at = hole->bytes > bytes ? hole_at((char *)hole + bytes, hole->bytes - bytes, hole->next) : hole->next;
    return hole;
}

static Region *region_new(Regions *r, size_t bytes) {
    size_t wanted = r->expected < MOST ? r->expected : MOST;
    Region *region = memory_alloc(NULL, sizeof *region);
    if (!region)
        return NULL;
    bytes = (size_t)round_up((int64_t)(bytes > wanted ? bytes : wanted), PAGE);
    *region = (Region){.next = r->first, .data = memory_alloc_large(NULL, bytes), .bytes = bytes};
    if (!region->data) {
        memory_free(NULL, region, sizeof *region);
        return NULL;
    }
    region->hole = hole_at(region->data, bytes, NULL);
    return r->first = region;
}

void *regions_take(Regions *r, size_t bytes) {
    if (alone(r, bytes))
        return memory_alloc_large(r->allocator, bytes);
    bytes = whole_units(bytes);
    void *data = NULL;
    for (Region *region = r->first; region && !data; region = region->next)
        data = cut(region, bytes);
    if (data)
        return data;
    Region *region = region_new(r, bytes);
    return region ? cut(region, bytes) : NULL;
}

/* Between the holes beside it, and one with them where they meet. */
static void put_back(Region *region, char *data, size_t bytes) {
    Hole **at = &region->hole, *before = NULL;
    for (; *at && (char *)*at < data; at = &(*at)->next)
        before = *at;
    Hole *next = *at, *hole;
    if (next && data + bytes == (char *)next) {
        bytes += next->bytes;
        next = next->next;
    }
    hole = *at = hole_at(data, bytes, next);
    if (before && (char *)before + before->bytes == (char *)hole) {
        before->bytes += hole->bytes;
        before->next = hole->next;
    }
}

void regions_give(Regions *r, void *data, size_t bytes) {
    if (!data || alone(r, bytes)) {
        memory_free(r->allocator, data, bytes);
        return;
    }
    Region **at = &r->first, *region;
    while ((char *)data < (*at)->data || (char *)data >= (*at)->data + (*at)->bytes)
        at = &(*at)->next;
    region = *at;
    put_back(region, data, whole_units(bytes));
    if (region->hole->bytes < region->bytes)
        return;
    *at = region->next;
    memory_free(NULL, region->data, region->bytes);
    memory_free(NULL, region, sizeof *region);
}
