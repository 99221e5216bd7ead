/* Executable memory: written first, made executable after, never both at a time. */
#define _DEFAULT_SOURCE
#include "target/x86/x86.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef MAP_POPULATE
#define AT_ONCE MAP_POPULATE /* all pages are about to be written: one call instead of a fault each */
#else
#define AT_ONCE 0
#endif

void *x86_memory_make(const unsigned char *bytes, size_t size, size_t *mapped, whet_error *err) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), length = (size + page - 1) / page * page;
    void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | AT_ONCE, -1, 0);
    if (memory == MAP_FAILED) {
        error_set(err, WHET_ERROR_MEMORY, "no memory for %zu bytes of code: %s", size, strerror(errno));
        return NULL;
    }
    memcpy(memory, bytes, size);
    if (mprotect(memory, length, PROT_READ | PROT_EXEC)) {
        error_set(err, WHET_ERROR_UNSUPPORTED,
                  "this system does not let memory become executable: %s; kernels can be compiled ahead of time: --target c",
                  strerror(errno));
        munmap(memory, length);
        return NULL;
    }
    *mapped = length;
    return memory;
}

void x86_memory_free(void *memory, size_t mapped) {
    if (memory)
        munmap(memory, mapped);
}
