/* Copies a growing file to standard output: the guest's serial console into the pod's log.
 *
 *     log-tail FILE [LOCK]
 *
 * FILE need not exist yet, may be replaced (a log that is rotated by renaming) and may shrink. With LOCK it ends when
 * nobody holds that file's lock any more: the launcher takes it at its start and loses it by dying. The signal to stop a
 * pod reaches all its containers at once, so until then SIGTERM is only noted: the last lines of a guest are those of
 * its shutdown. Without LOCK, SIGTERM ends it after what is there has been copied.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAUSE_MS 200

static volatile sig_atomic_t asked;
static char buffer[65536];

static void note(int number)
{
    (void)number;
    asked = 1;
}

static int copy(int fd)                              /* until the end that it has now; -1: nobody reads us */
{
    ssize_t got;
    while ((got = read(fd, buffer, sizeof buffer)) > 0)
        for (ssize_t done = 0, n; done < got; done += n)
            if ((n = write(1, buffer + done, got - done)) < 0) {
                if (errno != EINTR)
                    return -1;
                n = 0;
            }
    return 0;
}

static int is_replaced(int fd, const char *path)
{
    struct stat open_one, named;
    if (fstat(fd, &open_one) || stat(path, &named))
        return 0;                                    /* renamed away, the next one is not there yet */
    if (named.st_ino != open_one.st_ino || named.st_dev != open_one.st_dev)
        return 1;
    if (open_one.st_size < lseek(fd, 0, SEEK_CUR))
        lseek(fd, 0, SEEK_SET);
    return 0;
}

/* Nobody holds it any more; or nobody took it so far and we are asked to stop. */
static int is_free(const char *path)
{
    static int fd = -1, was_held;
    if (fd < 0 && (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return asked;
    if (flock(fd, LOCK_SH | LOCK_NB)) {
        was_held = 1;
        return 0;
    }
    flock(fd, LOCK_UN);
    return was_held || asked;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: log-tail FILE [LOCK]\n");
        return 2;
    }
    struct sigaction action = {.sa_handler = note};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    int fd = -1;
    for (;;) {
        int last = argc == 3 ? is_free(argv[2]) : asked;      /* asked before the copy: nothing written till then is lost */
        do {
            if (fd < 0)
                fd = open(argv[1], O_RDONLY | O_CLOEXEC);
            if (fd >= 0 && copy(fd))
                return 1;
            if (fd < 0 || !is_replaced(fd, argv[1]))
                break;
            copy(fd);
            close(fd);
            fd = -1;
        } while (1);
        if (last)
            return 0;
        poll(NULL, 0, PAUSE_MS);
    }
}
