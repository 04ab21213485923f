/* replay_main.c - runs a fuzz target over files instead of a fuzzer: the corpus as an ordinary
 * test.
 *
 * Arguments are files and directories (one level). Each file is given to the target once, in a heap
 * block of exactly its size so that a sanitizer sees a read past the end; then empty input once.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A target may define it; libFuzzer calls it once at the start. */
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static size_t n_inputs;

static int replay_file(const char *path, size_t size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(size ? size : 1);
    size_t got;

    if (!f || !data || size > FILE_MAX_BYTES) {
        fprintf(stderr, "%s: cannot be read or over %u bytes\n", path, FILE_MAX_BYTES);
        if (f)
            fclose(f);
        free(data);
        return -1;
    }
    got = fread(data, 1, size, f);
    fclose(f);
    /* Known before the target runs: after a crash the last line tells the input. */
    fprintf(stderr, "%s (%zu bytes)\n", path, got);
    LLVMFuzzerTestOneInput(data, got);
    n_inputs++;
    free(data);
    return 0;
}

static int replay_path(const char *path, int depth)
{
    struct dirent **names = NULL;
    struct stat st;
    int n, r = 0;

    if (stat(path, &st) < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    if (!S_ISDIR(st.st_mode))
        return replay_file(path, (size_t)st.st_size);
    if (depth > 0)
        return 0;
    n = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char child[4096];

        snprintf(child, sizeof(child), "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.' && replay_path(child, depth + 1) < 0)
            r = -1;
        free(names[i]);
    }
    free(names);
    return n < 0 ? -1 : r;
}

int main(int argc, char **argv)
{
    int r = 0;

    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        if (replay_path(argv[i], 0) < 0)
            r = 1;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    if (n_inputs == 0) {
        fprintf(stderr, "no input: a target needs at least one seed\n");
        return 1;
    }
    printf("%zu inputs\n", n_inputs);
    return r;
}
