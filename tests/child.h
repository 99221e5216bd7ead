/* Tests in a process of their own, whose system is made to refuse something. To be included behind cmocka.h. */
#ifndef CHILD_H
#define CHILD_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

enum { CHILD_CANNOT = 77 };

/* From here on no memory of this process becomes executable; false: the system knows no such thing. */
static inline bool child_refuses_code(void) {
#if defined(__linux__)
    enum { SET_MDWE = 65, REFUSE_EXEC_GAIN = 1 }; /* PR_SET_MDWE of Linux 6.3, which older headers lack */
    return prctl(SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) == 0;
#else
    return false;
#endif
}

/* 0: as wanted; CHILD_CANNOT: the system cannot be made to refuse, and the test is skipped. */
static inline void in_child(int (*test)(const void *context), const void *context) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(test(context));
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    if (WEXITSTATUS(result) == CHILD_CANNOT) {
        print_message("skipped: this system cannot be made to refuse\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(result), 0);
}

#endif
