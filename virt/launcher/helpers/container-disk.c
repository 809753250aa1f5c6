/* Runs in the user's disk image instead of the image's own command, and passes the disk's descriptor to the launcher.
 *
 *     container-disk --socket SOCKET [--path FILE]
 *     container-disk --socket SOCKET [--kernel FILE] [--initrd FILE]
 *
 * Without a path: the one file under /disk. A connection of this process's own user gets a JSON line per file,
 * {"role", "path", "size", "mode", "uid"}, with the descriptors beside it in the same order, or {"error"}. No symbolic
 * link is followed and nothing but a regular file is opened: the image is written by somebody we do not know. Links of
 * the image would be followed in *this* root, devices and pipes would be opened as themselves.
 *
 * A client that writes a byte holds the helper: it ends when that connection does, so it goes with the launcher however
 * that one ends. It needs nothing from the image: static, no allocation, read-only root.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FILES 2
#define CLIENTS 16

static char message[16384];
static size_t length;
static int descriptors[FILES], count;

static void add(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(message + length, sizeof message - length, format, arguments);
    va_end(arguments);
    length = n < 0 || length + n >= sizeof message ? sizeof message - 1 : length + n;
}

static void add_text(const char *text)               /* a JSON string; what is no printable ASCII becomes '?' */
{
    add("\"");
    for (; *text; text++)
        add(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text < ' ' || *text > '~' ? '?' : *text);
    add("\"");
}

static int refuse(const char *path, const char *why)
{
    length = 0;
    while (count)
        close(descriptors[--count]);
    char text[5000];
    snprintf(text, sizeof text, "%s: %s", path, why);
    add("{\"error\":");
    add_text(text);
    add("}\n");
    fprintf(stderr, "container-disk: %s\n", text);
    return -1;
}

/* Component by component, so that no link anywhere on the way is followed; ".." is no component of a clean path. */
static int open_plain(const char *path, int flags)
{
    char copy[4096], *rest = copy, *part;
    if (strlen(path) >= sizeof copy)
        return errno = ENAMETOOLONG, -1;
    strcpy(copy, path);
    int at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (at >= 0 && (part = strsep(&rest, "/"))) {
        if (!*part || !strcmp(part, "."))
            continue;
        if (!strcmp(part, "..")) {
            close(at);
            return errno = EINVAL, -1;
        }
        int last = !rest || !*rest;
        int next = openat(at, part, O_NOFOLLOW | O_CLOEXEC | (last ? flags : O_PATH | O_DIRECTORY));
        int error = errno;
        close(at);
        errno = error;
        at = next;
    }
    return at;
}

static int offer(const char *role, const char *path)
{
    struct stat status;
    int fd = open_plain(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);     /* O_NONBLOCK: a pipe must not hold us up */
    if (fd < 0)
        return refuse(path, errno == ELOOP || errno == ENOTDIR ? "is or passes a symbolic link or no folder"
                                                               : strerror(errno));
    if (fstat(fd, &status) || !S_ISREG(status.st_mode) || status.st_size == 0) {
        close(fd);
        return refuse(path, "is not a regular file with something in it");
    }
    descriptors[count++] = fd;
    add("{\"role\":\"%s\",\"path\":", role);
    add_text(path);
    add(",\"size\":%lld,\"mode\":%u,\"uid\":%u}\n", (long long)status.st_size, status.st_mode & 07777u,
        (unsigned)status.st_uid);
    return 0;
}

static int offer_only_file(void)
{
    static char path[512];
    int fd = open_plain("/disk", O_RDONLY | O_DIRECTORY);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder)
        return refuse("/disk", errno == ENOTDIR || errno == ELOOP ? "is not a folder" : strerror(errno));
    int found = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(path, sizeof path, "/disk/%s", entry->d_name);
        found++;
    }
    closedir(folder);
    if (found != 1)
        return refuse("/disk", found ? "more than one file found in folder" : "no file found in folder");
    return offer("disk", path);
}

static void answer(int client)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.uid != getuid())
        return;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof descriptors)];
    } control = {0};
    struct iovec body = {message, length};
    struct msghdr parts = {.msg_iov = &body, .msg_iovlen = 1};
    if (count) {
        parts.msg_control = control.space;
        parts.msg_controllen = CMSG_SPACE(count * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), descriptors, count * sizeof(int));
    }
    if (sendmsg(client, &parts, MSG_NOSIGNAL) < 0)
        fprintf(stderr, "container-disk: send: %s\n", strerror(errno));
    shutdown(client, SHUT_WR);
}

static void stop(int number)
{
    (void)number;
    _exit(0);
}

int main(int argc, char **argv)
{
    const char *socket_path = NULL, *path = NULL, *kernel = NULL, *initrd = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char **target = !strcmp(argv[i], "--socket")   ? &socket_path
                              : !strcmp(argv[i], "--path")   ? &path
                              : !strcmp(argv[i], "--kernel") ? &kernel
                              : !strcmp(argv[i], "--initrd") ? &initrd
                                                             : NULL;
        if (!target)
            socket_path = NULL, argc = 0;
        else
            *target = argv[i + 1];
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!socket_path || strlen(socket_path) >= sizeof address.sun_path) {
        fprintf(stderr, "usage: container-disk --socket SOCKET [--path FILE | [--kernel FILE] [--initrd FILE]]\n");
        return 2;
    }
    strcpy(address.sun_path, socket_path);
    struct sigaction action = {.sa_handler = stop};      /* PID 1 ignores what it does not handle */
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    if (kernel || initrd) {
        if (!kernel || !offer("kernel", kernel))
            if (initrd)
                offer("initrd", initrd);
    } else if (path) {
        offer("disk", path);
    } else {
        offer_only_file();
    }

    umask(077);
    unlink(socket_path);
    struct pollfd watched[1 + CLIENTS] = {{.events = POLLIN}};
    char holds[1 + CLIENTS] = {0};
    watched[0].fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(watched[0].fd, (struct sockaddr *)&address, sizeof address) || listen(watched[0].fd, CLIENTS)) {
        fprintf(stderr, "container-disk: %s: %s\n", socket_path, strerror(errno));
        return 1;
    }
    int clients = 0;
    for (;;) {
        watched[0].events = clients < CLIENTS ? POLLIN : 0;
        if (poll(watched, 1 + clients, -1) < 0)
            continue;
        for (int i = clients; i > 0; i--) {
            char byte;
            if (!watched[i].revents)
                continue;
            if (recv(watched[i].fd, &byte, 1, MSG_DONTWAIT) > 0) {
                holds[i] = 1;
                continue;
            }
            if (holds[i])
                return 0;
            close(watched[i].fd);
            watched[i] = watched[clients];
            holds[i] = holds[clients--];
        }
        if (watched[0].revents & POLLIN) {
            int client = accept4(watched[0].fd, NULL, NULL, SOCK_CLOEXEC);
            if (client < 0)
                continue;
            answer(client);
            clients++;
            watched[clients] = (struct pollfd){.fd = client, .events = POLLIN};
            holds[clients] = 0;
        }
    }
}
