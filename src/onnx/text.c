/* What may be a name: UTF-8, well-formed in the strict sense (no overlong forms, surrogates or numbers beyond 10FFFF), and no
 * NUL, so that a C string says all of it. */
#include "onnx/wire.h"

/* Bytes of the character at `at`, of which `left` (> 0) bytes remain; 0: not well-formed. */
static size_t character(const unsigned char *at, size_t left) {
    if (at[0] < 0x80)
        return at[0] != 0;
    size_t length = at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;
    if (at[0] < 0xC2 || at[0] > 0xF4 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xF0 && at[1] < 0x90);
    bool surrogate = at[0] == 0xED && at[1] > 0x9F;
    bool beyond = at[0] == 0xF4 && at[1] > 0x8F;
    return overlong || surrogate || beyond ? 0 : length;
}

bool text_is_name(Str text) {
    const unsigned char *at = (const unsigned char *)text.data;
    for (size_t left = text.length; left;) {
        size_t length = character(at, left);
        if (!length)
            return false;
        at += length;
        left -= length;
    }
    return true;
}
