/* Loaded before the C library: makes flushing or writing a process's files fail while a file of that name stands in
 * the folder FAILING_DISK: `flush` for as long as it is there, `flush-once` for one call, and so `write`; `read-only` makes
 * every write fail as on a file system that the kernel has stopped to write to. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(const char *what) {
    const char *folder = getenv("FAILING_DISK");
    char name[4096];
    if (folder == NULL) return 0;
    snprintf(name, sizeof name, "%s/%s-once", folder, what);
    if (unlink(name) == 0) return 1;
    snprintf(name, sizeof name, "%s/%s", folder, what);
    return access(name, F_OK) == 0;
}

static int fails_on_file(int file, const char *what) {
    struct stat about;
    return fstat(file, &about) == 0 && S_ISREG(about.st_mode) && fails(what);
}

int fsync(int file) {
    int (*next)(int) = dlsym(RTLD_NEXT, "fsync");
    if (fails("flush")) { errno = EIO; return -1; }
    return next(file);
}

int fdatasync(int file) {
    int (*next)(int) = dlsym(RTLD_NEXT, "fdatasync");
    if (fails("flush")) { errno = EIO; return -1; }
    return next(file);
}

ssize_t write(int file, const void *bytes, size_t count) {
    ssize_t (*next)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (fails_on_file(file, "write")) { errno = EIO; return -1; }
    if (fails_on_file(file, "read-only")) { errno = EROFS; return -1; }
    return next(file, bytes, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    ssize_t (*next)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    if (fails_on_file(file, "write")) { errno = EIO; return -1; }
    if (fails_on_file(file, "read-only")) { errno = EROFS; return -1; }
    return next(file, bytes, count, at);
}
