/* A map from names to pointers: open addressing, linear probing, in an arena. */
#include "base/base.h"

#include <string.h>

typedef struct MapSlot {
    const char *key; /* NULL: free */
    size_t length;
    uint64_t hash;
    void *value;
} MapSlot;

static uint64_t mix(uint64_t hash, const unsigned char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    hash = (hash ^ word) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

/* FNV-1a over 8 bytes at a time, with a final mix; of much, four hashes side by side, for each step waits for the one before. */
uint64_t hash_bytes(const void *data, size_t length, uint64_t seed) {
    enum { LANES = 4, WORD = 8, MUCH = 128 };
    const unsigned char *at = data;
    uint64_t hash = seed ^ 0xcbf29ce484222325u ^ length;
    if (length >= MUCH) {
        uint64_t lane[LANES] = {hash, hash + 1, hash + 2, hash + 3};
        for (; length >= LANES * WORD; length -= LANES * WORD, at += LANES * WORD)
            for (int i = 0; i < LANES; i++)
                lane[i] = mix(lane[i], at + i * WORD);
        for (int i = 0; i < LANES; i++)
            hash = mix(hash, (const unsigned char *)&lane[i]);
    }
    for (; length >= WORD; length -= WORD, at += WORD)
        hash = mix(hash, at);
    for (; length; length--, at++)
        hash = (hash ^ *at) * 0x100000001b3u;
    hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

void map_init(Map *map, Arena *arena) {
    *map = (Map){.arena = arena};
}

/* The slot that holds the key, or the free one where it would go. */
static MapSlot *find(const Map *map, const char *key, size_t length, uint64_t hash) {
    for (size_t i = hash & (map->capacity - 1);; i = (i + 1) & (map->capacity - 1)) {
        MapSlot *slot = &map->slots[i];
        if (!slot->key || (slot->hash == hash && slot->length == length && memcmp(slot->key, key, length) == 0))
            return slot;
    }
}

void *map_get(const Map *map, const char *key, size_t length) {
    return map->capacity ? find(map, key, length, hash_bytes(key, length, 0))->value : NULL;
}

static bool grow(Map *map) {
    Map larger = {.arena = map->arena, .capacity = map->capacity ? map->capacity * 2 : 16, .count = map->count};
    larger.slots = ARENA_ARRAY(map->arena, MapSlot, larger.capacity);
    if (!larger.slots)
        return false;
    for (size_t i = 0; i < map->capacity; i++)
        if (map->slots[i].key)
            *find(&larger, map->slots[i].key, map->slots[i].length, map->slots[i].hash) = map->slots[i];
    *map = larger;
    return true;
}

bool map_put(Map *map, const char *key, size_t length, void *value) {
    if (map->count * 4 >= map->capacity * 3 && !grow(map))
        return false;
    uint64_t hash = hash_bytes(key, length, 0);
    MapSlot *slot = find(map, key, length, hash);
    if (!slot->key)
        map->count++;
    *slot = (MapSlot){key, length, hash, value};
    return true;
}
