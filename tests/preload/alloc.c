/* alloc.c - memory that runs out; see fault.h. */
#include "fault.h"
#include <errno.h>
#include <stdlib.h>

/* The C library's own, for what dlsym() itself asks for while the next malloc is being looked up.
 */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static __thread bool resolving __attribute__((tls_model("initial-exec")));

#define ALLOCATOR(name, fallback, params, args, refused)     \
    EXPORT void *name params                                 \
    {                                                        \
        static void *(*real)params;                          \
                                                             \
        if (!real) {                                         \
            if (resolving)                                   \
                return fallback;                             \
            resolving = true;                                \
            real = (void *(*)params)dlsym(RTLD_NEXT, #name); \
            resolving = false;                               \
        }                                                    \
        if ((refused) && fault_now(FAULT_ALLOC, CALLER))     \
            return NULL;                                     \
        return real args;                                    \
    }

ALLOCATOR(malloc, __libc_malloc(size), (size_t size), (size), true)
ALLOCATOR(calloc, __libc_calloc(n, size), (size_t n, size_t size), (n, size), true)
ALLOCATOR(realloc, __libc_realloc(p, size), (void *p, size_t size), (p, size), size > 0)
ALLOCATOR(reallocarray, NULL, (void *p, size_t n, size_t size), (p, n, size), n > 0 && size > 0)
ALLOCATOR(aligned_alloc, NULL, (size_t align, size_t size), (align, size), true)

EXPORT int posix_memalign(void **ret, size_t align, size_t size)
{
    if (fault_now(FAULT_ALLOC, CALLER))
        return ENOMEM;
    return REAL(posix_memalign)(ret, align, size);
}
