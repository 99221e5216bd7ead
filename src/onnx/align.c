/* Constants that are misaligned for their type, and pages that nobody needs any more. In a file, a tensor's data begins wherever
 * the message before it ended; reading f32 through a float pointer wants a multiple of four. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* madvise */
#endif
#include "onnx/reader.h"
#include "onnx/tensor.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool onnx_is_aligned(const Tensor *tensor) {
    return tensor_is_aligned(tensor);
}

const Tensor *onnx_aligned(const Tensor *tensor, Arena *arena) {
    if (tensor_is_aligned(tensor))
        return tensor;
    Tensor *copy = arena_copy(arena, tensor, sizeof *tensor);
    if (copy)
        copy->data = arena_copy(arena, tensor->data, tensor->bytes);
    return copy && copy->data ? copy : NULL;
}

/* Pages of a private mapping that were only read go back to the page cache, and come from there again if they are read again. */
void onnx_forget(const Model *model, const Tensor *tensor) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), data = (uintptr_t)tensor->data;
    for (const FileMap *map = model->maps; map; map = map->next) {
        uintptr_t begin = (uintptr_t)map->data;
        if (data < begin || data >= begin + map->bytes)
            continue;
        uintptr_t from = (data + page - 1) / page * page, end = (data + tensor->bytes) / page * page;
        if (end > from)
            madvise((void *)from, end - from, MADV_DONTNEED);
        return;
    }
}
