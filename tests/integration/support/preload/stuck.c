/* A file system that hangs, for one process: LD_PRELOAD it. Reads of files below $TL_STUCK_BELOW never return. */
#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static void hang(int file) {
    const char *below = getenv("TL_STUCK_BELOW");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (!below || size < 0) return;
    path[size] = 0;
    if (!strncmp(path, below, strlen(below))) for (;;) pause();
}

ssize_t read(int file, void *buffer, size_t size) {
    hang(file);
    return syscall(SYS_read, file, buffer, size);
}

ssize_t pread64(int file, void *buffer, size_t size, off64_t from) {
    hang(file);
    return syscall(SYS_pread64, file, buffer, size, from);
}
