/* The disk's own story: an LD_PRELOAD library that writes down what a process does to the files of one database, and
 * fails calls when told to.
 *
 * TRIOFLOW_SHIM_PREFIX  the path of the database: files whose path begins with it, and its folder, are the ones watched
 * TRIOFLOW_SHIM_LOG     where to write the log; nothing is written down without it
 *
 * A record is written once its call has returned, with one lock held around both, so the order of the log is the order
 * of the calls. Format, little-endian: kind (1 byte), length of the name (2), offset (8), length of the data (4), name,
 * data. Kinds: W data written at offset, T cut or grown to offset, S synced (a file, or a folder: its names), C created,
 * U unlinked, R renamed to what data says. Names are the path without the prefix; the folder is ".".
 * SQLite's "-shm" file is not written down: it is shared memory that does not outlive the machine.
 *
 * Faults: shim_fail(k, error, from, all) makes the k-th call from now on fail with this errno (0: a short write), once
 * or, with `from`, all from the k-th on; without `all` only calls that need room on the disk count. shim_calls() tells
 * how many have counted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *prefix;
static size_t prefix_length, folder_length;
static int log_fd = -1;
static long fail_at, calls;
static int fail_error, fail_from, fail_all;

static int (*real_open)(const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);
static int (*real_rename)(const char *, const char *);

__attribute__((constructor)) static void begin(void) {
    real_open = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    real_write = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    real_pwrite = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64");
    real_pread = (ssize_t (*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread64");
    real_ftruncate = (int (*)(int, off_t))dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    real_unlink = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    real_rename = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    prefix = getenv("TRIOFLOW_SHIM_PREFIX");
    if (prefix) {
        const char *slash = strrchr(prefix, '/');
        prefix_length = strlen(prefix);
        folder_length = slash ? (size_t)(slash - prefix) : 0;
        const char *log_path = getenv("TRIOFLOW_SHIM_LOG");
        if (log_path) log_fd = real_open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
}

/* The name of a watched file, or NULL. */
static const char *named(const char *path) {
    if (!prefix || !path) return NULL;
    if (strncmp(path, prefix, prefix_length) == 0) {
        return path + prefix_length;
    }
    return strlen(path) == folder_length && strncmp(path, prefix, folder_length) == 0 ? "." : NULL;
}

static const char *named_fd(int fd, char buffer[PATH_MAX]) {
    char link[64];
    if (!prefix) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, buffer, PATH_MAX - 1);
    if (length < 0) return NULL;
    buffer[length] = 0;
    return named(buffer);
}

static void note(char kind, const char *name, uint64_t offset, const void *data, uint32_t length) {
    if (log_fd < 0 || strcmp(name, "-shm") == 0) return;
    uint16_t name_length = (uint16_t)strlen(name);
    size_t total = 15 + name_length + length;
    char *record = malloc(total), *end = record;
    *end++ = kind;
    memcpy(end, &name_length, 2), end += 2;
    memcpy(end, &offset, 8), end += 8;
    memcpy(end, &length, 4), end += 4;
    memcpy(end, name, name_length), end += name_length;
    if (length) memcpy(end, data, length);
    if (real_write(log_fd, record, total) != (ssize_t)total) abort();
    free(record);
}

/* Whether this call fails now: 0 no, otherwise an errno, or -1 for a short write. Called with the lock held. */
static int fails(int needs_room) {
    if (!fail_at || !(needs_room || fail_all)) return 0;
    calls++;
    if (calls == fail_at || (fail_from && calls > fail_at)) return fail_error ? fail_error : -1;
    return 0;
}

void shim_fail(long k, int error, int from, int all) {
    pthread_mutex_lock(&lock);
    fail_at = k, fail_error = error, fail_from = from, fail_all = all, calls = 0;
    pthread_mutex_unlock(&lock);
}

long shim_calls(void) { return calls; }

static int opened(const char *path, int flags, mode_t mode) {
    const char *name = named(path);
    if (!name || strcmp(name, ".") == 0) return real_open(path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat found;
    int fresh = (flags & O_CREAT) && stat(path, &found) != 0;
    int error = fails(fresh), fd = -1;
    if (error > 0) errno = error;
    else fd = real_open(path, flags, mode);
    int saved = errno;
    if (fd >= 0 && fresh) note('C', name, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened(path, flags | O_LARGEFILE, mode);
}

static ssize_t written(int fd, const void *data, size_t length, off_t offset, int positioned) {
    char buffer[PATH_MAX];
    const char *name = named_fd(fd, buffer);
    if (!name) return positioned ? real_pwrite(fd, data, length, offset) : real_write(fd, data, length);
    pthread_mutex_lock(&lock);
    int error = fails(1);
    ssize_t done = -1;
    if (error > 0) {
        errno = error;
    } else {
        if (error < 0) length /= 2;
        done = positioned ? real_pwrite(fd, data, length, offset) : real_write(fd, data, length);
    }
    int saved = errno;
    if (done > 0) {
        uint64_t place = (uint64_t)(positioned ? offset : lseek(fd, 0, SEEK_CUR) - done);
        note('W', name, place, data, (uint32_t)done);
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

ssize_t write(int fd, const void *data, size_t length) { return written(fd, data, length, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return written(fd, data, length, offset, 1); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return written(fd, data, length, offset, 1); }

static ssize_t fetched(int fd, void *data, size_t length, off_t offset) {
    char buffer[PATH_MAX];
    if (fail_at && fail_all && named_fd(fd, buffer)) {
        pthread_mutex_lock(&lock);
        int error = fails(0);
        pthread_mutex_unlock(&lock);
        if (error > 0) {
            errno = error;
            return -1;
        }
    }
    return real_pread(fd, data, length, offset);
}

ssize_t pread(int fd, void *data, size_t length, off_t offset) { return fetched(fd, data, length, offset); }
ssize_t pread64(int fd, void *data, size_t length, off_t offset) { return fetched(fd, data, length, offset); }

/* A call on an open file that either happens or does not. */
static int done_to(int fd, char kind, off_t size, int (*act)(int, off_t)) {
    char buffer[PATH_MAX];
    const char *name = named_fd(fd, buffer);
    if (!name) return act(fd, size);
    pthread_mutex_lock(&lock);
    int error = fails(1), result = -1;
    if (error > 0) errno = error;
    else result = act(fd, size);
    int saved = errno;
    if (result == 0) note(kind, name, (uint64_t)size, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

static int sync_data(int fd, off_t unused) { (void)unused; return real_fdatasync(fd); }
static int sync_all(int fd, off_t unused) { (void)unused; return real_fsync(fd); }
static int cut(int fd, off_t size) { return real_ftruncate(fd, size); }

int fsync(int fd) { return done_to(fd, 'S', 0, sync_all); }
int fdatasync(int fd) { return done_to(fd, 'S', 0, sync_data); }
int ftruncate(int fd, off_t size) { return done_to(fd, 'T', size, cut); }
int ftruncate64(int fd, off_t size) { return done_to(fd, 'T', size, cut); }

int unlink(const char *path) {
    const char *name = named(path);
    if (!name) return real_unlink(path);
    pthread_mutex_lock(&lock);
    int error = fails(0), result = -1;
    if (error > 0) errno = error;
    else result = real_unlink(path);
    int saved = errno;
    if (result == 0) note('U', name, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

int rename(const char *from, const char *to) {
    const char *name = named(from), *other = named(to);
    if (!name || !other) return real_rename(from, to);
    pthread_mutex_lock(&lock);
    int error = fails(1), result = -1;
    if (error > 0) errno = error;
    else result = real_rename(from, to);
    int saved = errno;
    if (result == 0) note('R', name, 0, other, (uint32_t)strlen(other));
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}
