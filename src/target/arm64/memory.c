/* Executable memory: written first, made executable after, never both at a time; then the instruction cache is told. macOS gives
 * such memory on request alone (MAP_JIT) and switches it between the two for each thread. */
#define _DEFAULT_SOURCE
#include "target/arm64/arm64.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__APPLE__) && defined(__aarch64__)
#include <libkern/OSCacheControl.h>
#include <pthread.h>
#define JIT_FLAGS MAP_JIT
#define JIT_FIRST (PROT_READ | PROT_WRITE | PROT_EXEC)
#else
#ifdef MAP_POPULATE
#define JIT_FLAGS MAP_POPULATE /* all pages are about to be written: one call instead of a fault each */
#else
#define JIT_FLAGS 0
#endif
#define JIT_FIRST (PROT_READ | PROT_WRITE)
#endif

static bool fill(void *memory, size_t length, const unsigned char *bytes, size_t size) {
#if defined(__APPLE__) && defined(__aarch64__)
    (void)length;
    pthread_jit_write_protect_np(0); /* this thread may write, and not run */
    memcpy(memory, bytes, size);
    pthread_jit_write_protect_np(1);
    sys_icache_invalidate(memory, size);
#else
    memcpy(memory, bytes, size);
    if (mprotect(memory, length, PROT_READ | PROT_EXEC))
        return false;
    __builtin___clear_cache((char *)memory, (char *)memory + size);
#endif
    return true;
}

void *arm64_memory_make(const unsigned char *bytes, size_t size, size_t *mapped, whet_error *err) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), length = (size + page - 1) / page * page;
    void *memory = mmap(NULL, length, JIT_FIRST, MAP_PRIVATE | MAP_ANONYMOUS | JIT_FLAGS, -1, 0);
    if (memory == MAP_FAILED && errno == ENOMEM) {
        error_set(err, WHET_ERROR_MEMORY, "no memory for %zu bytes of code", size);
        return NULL;
    }
    if (memory == MAP_FAILED || !fill(memory, length, bytes, size)) {
        error_set(err, WHET_ERROR_UNSUPPORTED,
                  "this system does not let memory become executable: %s; kernels can be compiled ahead of time: --target c",
                  strerror(errno));
        if (memory != MAP_FAILED)
            munmap(memory, length);
        return NULL;
    }
    *mapped = length;
    return memory;
}

void arm64_memory_free(void *memory, size_t mapped) {
    if (memory)
        munmap(memory, mapped);
}
