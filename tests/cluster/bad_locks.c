/* A file system with bad file locks, for one process: preload it. BAD_LOCKS=38 has every lock fail with that errno (38, ENOSYS, is a Lustre
 * mount without -o flock; 37, ENOLCK, an NFS without its lock daemon). BAD_LOCKS=lie grants every lock to everybody, as a Lustre mount with
 * -o localflock does to two nodes. BAD_LOCKS=nomap refuses shared writable maps, as many parallel file systems do. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef int (*fcntl_type)(int, int, ...);
typedef void *(*mmap_type)(void *, size_t, int, int, int, off_t);

static int locking(const char *name, int fd, int command, void *argument) {
    const char *how = getenv("BAD_LOCKS");
    int is_lock = command == F_SETLK || command == F_SETLKW || command == F_GETLK;
    if (how && is_lock && strcmp(how, "lie") == 0) {
        if (command == F_GETLK) ((struct flock *)argument)->l_type = F_UNLCK;
        return 0;
    }
    if (how && is_lock && atoi(how) > 0) {
        errno = atoi(how);
        return -1;
    }
    return ((fcntl_type)dlsym(RTLD_NEXT, name))(fd, command, argument);
}

static void *mapping(const char *name, void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    const char *how = getenv("BAD_LOCKS");
    if (how && strcmp(how, "nomap") == 0 && fd >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE)) {
        errno = ENODEV;
        return MAP_FAILED;
    }
    return ((mmap_type)dlsym(RTLD_NEXT, name))(at, size, protection, flags, fd, offset);
}

#define FCNTL(name)                                          \
    int name(int fd, int command, ...) {                     \
        va_list rest;                                        \
        va_start(rest, command);                             \
        void *argument = va_arg(rest, void *);               \
        va_end(rest);                                        \
        return locking(#name, fd, command, argument);        \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

#define MMAP(name)                                                                                       \
    void *name(void *at, size_t size, int protection, int flags, int fd, off_t offset) {                 \
        return mapping(#name, at, size, protection, flags, fd, offset);                                  \
    }
MMAP(mmap)
MMAP(mmap64)
