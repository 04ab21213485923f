/* fault.h - inside libfault.so, which is preloaded into a test program and makes calls of the C
 * library fail.
 *
 * A call that can be made to fail is known by its place: the class of call and the chain of return
 * addresses from the call up to the first function of the test itself. Two calls from one place are
 * one place, however often the program comes there; so a sweep over all places is a sweep over
 * every N-th call without its repetitions, and it means the same in the next run, whatever threads
 * and timers did.
 *
 * What the test's own code asks for never fails: the code under test is what is tested.
 *
 * Variables, set by scripts/faults:
 *   FL_FAULT_MODE    record: write every place to the log; hit: fail one; noise: legal disturbances
 * all the time FL_FAULT_LOG     file that lines are appended to FL_FAULT_BUILD   only programs
 * below this folder are touched FL_FAULT_MAIN    the test program; in it, FL_FAULT_SKIP=from-to,…
 * (hexadecimal offsets) is the test's own code FL_FAULT_TEST    run only this test of the program
 *   FL_FAULT_AT      hit: PROGRAM CLASS OBJECT:OFFSET HASH, as a line of the log has them
 *   FL_FAULT_ERRNO   hit: what the call fails with; FL_FAULT_STICKY=1: and so all of the class
 * until the test has control again FL_FAULT_NOISE   noise: words of short, tiny, eintr, eagain;
 * FL_FAULT_SEED a number
 */
#pragma once
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum fault_class { FAULT_ALLOC, FAULT_FD, FAULT_DISK, FAULT_PROC, FAULT__N };
enum fault_noise { NOISE_SHORT = 1, NOISE_TINY = 2, NOISE_EINTR = 4, NOISE_EAGAIN = 8 };

/* Whether this call is to fail now; errno is set then. `caller`: __builtin_return_address(0). */
bool fault_now(enum fault_class class, void *caller);

/* The disturbances asked for, 0 for calls of the test's own code and outside of noise mode. */
unsigned fault_noise(void *caller);

/* Random numbers of the noise: 0 … n-1. */
unsigned fault_dice(unsigned n);

/* Whether the caller is code of the shared object whose file name begins so. */
bool fault_called_by(void *caller, const char *object);

/* Whether it is among all that called. */
bool fault_called_below(const char *object);

/* The next definition of a function, found once. */
#define REAL(name)                                               \
    ({                                                           \
        static __typeof__(name) *real_;                          \
        if (!real_)                                              \
            real_ = (__typeof__(name) *)dlsym(RTLD_NEXT, #name); \
        real_;                                                   \
    })

#define EXPORT __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)
