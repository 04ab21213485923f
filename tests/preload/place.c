/* place.c - where a call comes from, which calls fail, and what is written about it; see fault.h.
 */
#include "fault.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

#define MAX_FRAMES  64
#define MAX_OBJECTS 128
#define MAX_SKIPS   1024
#define MAX_PLACES  65536 /* a power of two */
#define LINE_BYTES  4096
#define MAX_FAILED  100 /* calls in a row, where a failure stays */

struct object {
    uintptr_t base, start, end;
    char name[64]; /* file name without folders; "main" for the program */
};

struct range {
    uintptr_t from, to;
};

static const char *const class_name[FAULT__N] = {
    [FAULT_ALLOC] = "alloc",
    [FAULT_FD] = "fd",
    [FAULT_DISK] = "disk",
    [FAULT_PROC] = "proc",
};

static enum { OFF, RECORD, HIT, NOISE } mode;
static const char *log_path;
static char program[256];
static struct object objects[MAX_OBJECTS];
static size_t n_objects;
static struct range skips[MAX_SKIPS]; /* of the program's own code, as addresses */
static size_t n_skips;
static unsigned noise;
static uint32_t seed;

static struct {
    int class;
    char object[64];
    uintptr_t offset;
    uint64_t hash;
    int error;
    bool sticky, fired;
    unsigned failed;
    pid_t thread; /* where it fired, and the function of the test that had called */
    uintptr_t from;
} target;

static uint64_t seen[MAX_PLACES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread bool inside __attribute__((tls_model("initial-exec")));

/* ---- objects ---- */

static int add_object(struct dl_phdr_info *info, __attribute__((unused)) size_t size, void *arg)
{
    struct object o = { .base = info->dlpi_addr, .start = UINTPTR_MAX };
    const char *slash = strrchr(info->dlpi_name, '/');
    size_t *n = arg;

    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            uintptr_t from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

            if (from < o.start)
                o.start = from;
            if (from + info->dlpi_phdr[i].p_memsz > o.end)
                o.end = from + info->dlpi_phdr[i].p_memsz;
        }
    snprintf(o.name, sizeof(o.name), "%s", *n == 0 ? "main" : slash ? slash + 1 : info->dlpi_name);
    if (*n < MAX_OBJECTS)
        objects[(*n)++] = o;
    return 0;
}

static const struct object *object_of(uintptr_t address)
{
    for (int round = 0; round < 2; round++) {
        size_t n = 0;

        for (size_t i = 0; i < n_objects; i++)
            if (address >= objects[i].start && address < objects[i].end)
                return &objects[i];
        dl_iterate_phdr(add_object, &n); /* one was loaded since */
        n_objects = n;
    }
    return NULL;
}

static bool of_the_test(uintptr_t address)
{
    for (size_t i = 0; i < n_skips; i++)
        if (address >= skips[i].from && address < skips[i].to)
            return true;
    return false;
}

bool fault_called_by(void *caller, const char *object)
{
    const struct object *o = object_of((uintptr_t)caller);

    return o && strncmp(o->name, object, strlen(object)) == 0;
}

static _Unwind_Reason_Code find_frame(struct _Unwind_Context *context, void *arg)
{
    const char **object = arg;
    uintptr_t ip = _Unwind_GetIP(context);

    if (!ip || !fault_called_by((void *)ip, *object))
        return ip ? _URC_NO_REASON : _URC_END_OF_STACK;
    *object = NULL; /* found */
    return _URC_END_OF_STACK;
}

bool fault_called_below(const char *object)
{
    inside = true;
    _Unwind_Backtrace(find_frame, &object);
    inside = false;
    return !object;
}

/* ---- the log ---- */

/* Straight to the kernel: the functions of the C library are ours here. No descriptor stays. */
static void log_line(const char *line, size_t len)
{
    long fd =
        syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);

    if (fd < 0)
        return;
    syscall(SYS_write, fd, line, len);
    syscall(SYS_close, fd);
}

/* ---- places ---- */

struct walk {
    uintptr_t frames[MAX_FRAMES];
    size_t n, skip;
    bool of_test;   /* the first function of the program itself is the test's */
    bool product;   /* … or is not */
    uintptr_t from; /* where the test called the product, 0 if it did not */
};

static _Unwind_Reason_Code walk_frame(struct _Unwind_Context *context, void *arg)
{
    struct walk *w = arg;
    uintptr_t ip = _Unwind_GetIP(context);
    const struct object *o;

    if (!ip || w->n == MAX_FRAMES)
        return _URC_END_OF_STACK;
    if (w->skip > 0) {
        w->skip--;
        return _URC_NO_REASON;
    }
    if (of_the_test(ip - 1)) {
        w->of_test = !w->product;
        w->from = ip;
        return _URC_END_OF_STACK;
    }
    o = object_of(ip);
    w->product = w->product || o == &objects[0];
    /* However deep a recursion is, it is one place. */
    if (w->n == 0 || w->frames[w->n - 1] != ip)
        w->frames[w->n++] = ip;
    return _URC_NO_REASON;
}

static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
    const unsigned char *p = data;

    while (len--)
        hash = (hash ^ *p++) * 1099511628211u;
    return hash;
}

static uint64_t hash_of(const struct walk *w, enum fault_class class)
{
    uint64_t hash = mix(14695981039346656037u, &class, sizeof(class));

    for (size_t i = 0; i < w->n; i++) {
        const struct object *o = object_of(w->frames[i]);
        uintptr_t offset = w->frames[i] - (o ? o->base : w->frames[i]);

        if (o)
            hash = mix(hash, o->name, strlen(o->name));
        hash = mix(hash, &offset, sizeof(offset));
    }
    return hash ? hash : 1;
}

static bool is_new(uint64_t hash)
{
    size_t i = hash & (MAX_PLACES - 1);
    bool fresh;

    pthread_mutex_lock(&lock);
    while (seen[i] && seen[i] != hash)
        i = (i + 1) & (MAX_PLACES - 1);
    fresh = !seen[i];
    seen[i] = hash;
    pthread_mutex_unlock(&lock);
    return fresh;
}

/* "place PROGRAM CLASS OBJECT:OFFSET HASH FRAME,FRAME,…", each frame as OBJECT:OFFSET. */
static void record(const struct walk *w, enum fault_class class, const struct object *leaf,
                   uintptr_t offset, uint64_t hash)
{
    char line[LINE_BYTES];
    int len = snprintf(line, sizeof(line), "place %s %s %s:%lx %016lx ", program, class_name[class],
                       leaf->name, (unsigned long)offset, (unsigned long)hash);

    for (size_t i = 0; i < w->n && len < LINE_BYTES - 100; i++) {
        const struct object *o = object_of(w->frames[i]);

        len += snprintf(line + len, LINE_BYTES - (size_t)len, "%s%s:%lx", i ? "," : "",
                        o ? o->name : "?", (unsigned long)(w->frames[i] - (o ? o->base : 0)));
    }
    line[len++] = '\n';
    log_line(line, (size_t)len);
}

static bool fail(const struct walk *w)
{
    if (!target.fired) {
        target.fired = true;
        target.thread = gettid();
        target.from = w->from;
        log_line("fired\n", 6);
    }
    errno = target.error;
    return true;
}

static bool decide(enum fault_class class, void *caller)
{
    const struct object *leaf;
    struct walk w = { .skip = 3 }; /* this function, fault_now and the one that replaces the call */
    uintptr_t offset;
    uint64_t hash;
    bool sticking = mode == HIT && target.fired;

    if (mode == HIT && (class != (enum fault_class)target.class || (sticking && !target.sticky)))
        return false;
    leaf = object_of((uintptr_t)caller);
    if (!leaf || strncmp(leaf->name, "libcmocka", 9) == 0)
        return false;
    offset = (uintptr_t)caller - leaf->base;
    if (mode == HIT && !sticking &&
        (offset != target.offset || strcmp(leaf->name, target.object) != 0))
        return false;
    _Unwind_Backtrace(walk_frame, &w);
    if (w.of_test || !w.product)
        return false; /* the test's own, or of a library before main() and after it */
    if (sticking) {
        /* Until the test has control again: what it builds next is not what is tested. A thread
         * that waits for better times gets them after a while. */
        if (target.thread == gettid() && (target.from != w.from || ++target.failed > MAX_FAILED))
            target.sticky = false;
        return target.thread == gettid() && target.sticky && fail(&w);
    }
    hash = hash_of(&w, class);
    if (mode == HIT)
        return hash == target.hash && fail(&w);
    if (is_new(hash))
        record(&w, class, leaf, offset, hash);
    return false;
}

__attribute__((noinline)) bool fault_now(enum fault_class class, void *caller)
{
    int error = errno;
    bool yes;

    if ((mode != RECORD && mode != HIT) || inside)
        return false;
    inside = true;
    yes = decide(class, caller);
    inside = false;
    if (!yes)
        errno = error;
    return yes;
}

unsigned fault_noise(void *caller)
{
    if (mode != NOISE || inside || of_the_test((uintptr_t)caller - 1) ||
        fault_called_by(caller, "libcmocka"))
        return 0;
    return noise;
}

unsigned fault_dice(unsigned n)
{
    uint32_t x = __atomic_add_fetch(&seed, 0x9e3779b9, __ATOMIC_RELAXED);

    x = (x ^ (x >> 16)) * 0x85ebca6b;
    x = (x ^ (x >> 13)) * 0xc2b2ae35;
    return (x ^ (x >> 16)) % n;
}

/* ---- crashes ---- */

/* Notes whose crash it is. A test that uses what an error left empty fails: as good as an
 * assertion. What called abort() stands in the log, for what libraries are known to do. */
static const int crashes[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };

static void on_crash(int signo)
{
    struct walk w = { .skip = 1 };
    char line[LINE_BYTES];
    int len = 0;

    mode = OFF;
    _Unwind_Backtrace(walk_frame, &w);
    if (w.of_test) {
        log_line("test crashed\n", 13);
        _exit(1);
    }
    for (size_t i = 0; i < w.n && len < LINE_BYTES - 600; i++) {
        const struct object *o = object_of(w.frames[i]);
        Dl_info info = { 0 };

        if (!o)
            continue;
        len += snprintf(line + len, 100, "%s%s:", i ? "," : "crash ", o->name);
        if (o == &objects[0])
            len += snprintf(line + len, 100, "%lx", (unsigned long)(w.frames[i] - o->base));
        else if (dladdr((void *)w.frames[i], &info))
            len += snprintf(line + len, 100, "%.90s", info.dli_sname ?: "?");
    }
    line[len++] = '\n';
    log_line(line, (size_t)len);
    REAL(signal)(signo, SIG_DFL);
    raise(signo);
}

/* ---- start and end ---- */

static void read_skips(const char *text)
{
    while (text && *text && n_skips < MAX_SKIPS) {
        char *end;
        uintptr_t from = strtoul(text, &end, 16), to = strtoul(end + 1, &end, 16);

        skips[n_skips++] = (struct range){ objects[0].base + from, objects[0].base + to };
        text = *end == ',' ? end + 1 : end;
    }
}

static bool read_target(const char *text)
{
    char class[16], name[256];
    unsigned long offset, hash;

    if (!text ||
        sscanf(text, "%255s %15s %63[^:]:%lx %lx", name, class, target.object, &offset, &hash) != 5)
        return false;
    for (target.class = 0; target.class < FAULT__N; target.class ++)
        if (strcmp(class, class_name[target.class]) == 0)
            break;
    target.offset = offset;
    target.hash = hash;
    target.error = atoi(getenv("FL_FAULT_ERRNO") ?: "12");
    target.sticky = getenv("FL_FAULT_STICKY") != NULL;
    return strcmp(name, program) == 0;
}

static unsigned read_noise(const char *text)
{
    static const char *const words[] = { "short", "tiny", "eintr", "eagain" };
    unsigned set = 0;

    for (unsigned i = 0; text && i < 4; i++)
        if (strstr(text, words[i]))
            set |= 1u << i;
    return set;
}

static __attribute__((constructor)) void start(void)
{
    const char *how = getenv("FL_FAULT_MODE"), *build = getenv("FL_FAULT_BUILD");
    const char *of_tests = getenv("FL_FAULT_MAIN");
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    size_t count = 0;

    log_path = getenv("FL_FAULT_LOG");
    if (!how || !build || !log_path || n < 0)
        return;
    path[n] = '\0';
    if (strncmp(path, build, strlen(build)) != 0)
        return;
    snprintf(program, sizeof(program), "%s", strrchr(path, '/') + 1);
    dl_iterate_phdr(add_object, &count);
    n_objects = count;
    if (of_tests && strcmp(of_tests, path) == 0)
        read_skips(getenv("FL_FAULT_SKIP"));
    for (size_t i = 0; n_skips && i < sizeof(crashes) / sizeof(crashes[0]); i++)
        REAL(signal)(crashes[i], on_crash);
    seed = (uint32_t)atoi(getenv("FL_FAULT_SEED") ?: "1");
    noise = read_noise(getenv("FL_FAULT_NOISE"));
    if (strcmp(how, "record") == 0)
        mode = RECORD;
    else if (strcmp(how, "hit") == 0 && read_target(getenv("FL_FAULT_AT")))
        mode = HIT;
    else if (strcmp(how, "noise") == 0)
        mode = NOISE;
}

/* What is still open at the end, a line each: "open PID ROLE TARGET". */
static __attribute__((destructor)) void end(void)
{
    const char *name = program_invocation_short_name;
    int role = (int)strcspn(name, " "), begins;
    char line[4200], path[64];

    if (mode == OFF || n_skips == 0)
        return; /* only the test program itself is asked */
    mode = OFF;
    begins =
        snprintf(line, sizeof(line), "open %d %.*s ", (int)getpid(), role < 40 ? role : 40, name);
    for (int fd = 3; fd < 1024; fd++) {
        ssize_t n;

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        n = readlink(path, line + begins, 4096);
        if (n < 0)
            continue;
        line[begins + n] = '\n';
        log_line(line, (size_t)(begins + n) + 1);
    }
}
