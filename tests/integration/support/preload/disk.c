/* A disk that fails, for one process: LD_PRELOAD it.
 *
 * Counts what would change files below $TL_FAULT_BELOW, from 1, and writes each as a line to $TL_FAULT_LOG. The one with
 * the number $TL_FAULT_AT fails with $TL_FAULT_ERROR, or ends the process where that is "before" or "after"; with
 * $TL_FAULT_FOREVER all later ones fail, too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *below;
static long at;
static int number, forever, before, after, record = -1;
static atomic_long count;

__attribute__((constructor)) static void begin(void) {
    const char *error = getenv("TL_FAULT_ERROR"), *path = getenv("TL_FAULT_LOG"), *when = getenv("TL_FAULT_AT");
    below = getenv("TL_FAULT_BELOW");
    at = when ? atol(when) : 0;
    forever = getenv("TL_FAULT_FOREVER") != NULL;
    before = error && !strcmp(error, "before");
    after = error && !strcmp(error, "after");
    number = error ? atoi(error) : 0;
    if (path) record = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

enum fate { GO, FAIL, LAST };

static enum fate decide(const char *what, const char *path) {
    size_t length = below ? strlen(below) : 0;
    if (!length || strncmp(path, below, length)) return GO;
    long own = atomic_fetch_add(&count, 1) + 1;
    if (record >= 0) {
        char line[PATH_MAX + 64];
        int size = snprintf(line, sizeof line, "%ld %s %s\n", own, what, path);
        syscall(SYS_write, record, line, size);
    }
    if (at == 0 || own < at || (own > at && !forever)) return GO;
    if (before) kill(getpid(), SIGKILL), pause();
    return after ? LAST : FAIL;
}

static enum fate decide_file(const char *what, int file) {
    char link[64], path[PATH_MAX];
    int kept = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    errno = kept;
    if (size < 0) return GO;
    path[size] = 0;
    return decide(what, path);
}

#define CALL(type, decided, real) do { \
        enum fate fate_ = (decided); \
        if (fate_ == FAIL) { errno = number; return -1; } \
        type result_ = (real); \
        if (fate_ == LAST) kill(getpid(), SIGKILL), pause(); \
        return result_; \
    } while (0)
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *bytes, size_t size) { CALL(ssize_t, decide_file("write", file), REAL(write)(file, bytes, size)); }
ssize_t writev(int file, const struct iovec *parts, int some) { CALL(ssize_t, decide_file("write", file), REAL(writev)(file, parts, some)); }
ssize_t pwrite(int file, const void *bytes, size_t size, off_t to) { CALL(ssize_t, decide_file("write", file), REAL(pwrite)(file, bytes, size, to)); }
ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t to) { CALL(ssize_t, decide_file("write", file), REAL(pwrite64)(file, bytes, size, to)); }
int fsync(int file) { CALL(int, decide_file("fsync", file), REAL(fsync)(file)); }
int fdatasync(int file) { CALL(int, decide_file("fdatasync", file), REAL(fdatasync)(file)); }
int ftruncate(int file, off_t size) { CALL(int, decide_file("ftruncate", file), REAL(ftruncate)(file, size)); }
int ftruncate64(int file, off64_t size) { CALL(int, decide_file("ftruncate", file), REAL(ftruncate64)(file, size)); }
int rename(const char *from, const char *to) { CALL(int, decide("rename", to), REAL(rename)(from, to)); }
int linkat(int old, const char *from, int new, const char *to, int flags) { CALL(int, decide("link", to), REAL(linkat)(old, from, new, to, flags)); }
int unlink(const char *path) { CALL(int, decide("unlink", path), REAL(unlink)(path)); }
int unlinkat(int folder, const char *path, int flags) { CALL(int, *path == '/' ? decide("unlink", path) : decide_file("unlink", folder), REAL(unlinkat)(folder, path, flags)); }
int mkdir(const char *path, mode_t mode) { CALL(int, decide("mkdir", path), ((int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "mkdir"))(path, mode)); }

static int mode_of(int flags, va_list rest) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0; }

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = mode_of(flags, rest);
    va_end(rest);
    CALL(int, flags & O_CREAT && access(path, F_OK) ? decide("create", path) : GO, REAL(open)(path, flags, mode));
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = mode_of(flags, rest);
    va_end(rest);
    CALL(int, flags & O_CREAT && access(path, F_OK) ? decide("create", path) : GO, REAL(open64)(path, flags, mode));
}
