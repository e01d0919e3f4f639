/* A wall clock that jumps, for one process: LD_PRELOAD it. Each $TL_CLOCK_STEPS readings it is put a day forward or back:
 * right, a day ahead, right, a day behind, and so on. With $TL_CLOCK_FILE it goes by as many seconds more as that file says. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long steps = 1;
static atomic_long readings;

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("TL_CLOCK_STEPS");
    if (text && atol(text) > 0) steps = atol(text);
}

static long shift(void) {
    char text[32] = {0};
    const char *path = getenv("TL_CLOCK_FILE");
    int file = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static const int days[] = {0, 1, 0, -1};
    long result = syscall(SYS_clock_gettime, clock, time);
    if (result || clock != CLOCK_REALTIME) return result;
    time->tv_sec += getenv("TL_CLOCK_FILE") ? shift() : 86400L * days[atomic_fetch_add(&readings, 1) / steps % 4];
    return result;
}
