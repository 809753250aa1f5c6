/* A probe of the kubelet inside a launcher's container, passed on to the launcher, which asks the guest's agent.
 *
 *     virt-probe --socket PATH --timeoutSeconds N --guestAgentPing
 *     virt-probe --socket PATH --timeoutSeconds N --command PROGRAM -- [ARGUMENT...]
 *
 * The launcher gets the words "ping", or "exec" and the program with its arguments, after the seconds, each ended by a
 * zero byte, and then the end of the stream. It answers with an exit status on a line and a text. Small and static: it
 * is started every few seconds for each guest that has such a probe.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char answer[65536];

static int fail(const char *what)
{
    fprintf(stderr, "virt-probe: %s: %s\n", what, strerror(errno));
    return 1;
}

static int usage(void)
{
    fprintf(stderr, "usage: virt-probe --socket PATH --timeoutSeconds N (--guestAgentPing | --command PROGRAM -- ...)\n");
    return 2;
}

static int send_word(int fd, const char *word)
{
    size_t length = strlen(word) + 1;

    for (size_t done = 0; done < length;) {
        ssize_t n = write(fd, word + done, length - done);
        if (n < 0 && errno != EINTR)
            return -1;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = NULL, *seconds = "1", *command = NULL;
    int ping = 0, at = 1;

    for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
        if (strcmp(argv[at], "--guestAgentPing") == 0)
            ping = 1;
        else if (at + 1 == argc)
            return usage();
        else if (strcmp(argv[at], "--socket") == 0)
            path = argv[++at];
        else if (strcmp(argv[at], "--timeoutSeconds") == 0)
            seconds = argv[++at];
        else if (strcmp(argv[at], "--command") == 0)
            command = argv[++at];
        else
            return usage();
    }
    if (path == NULL || ping == (command != NULL) || strlen(path) >= sizeof address.sun_path)
        return usage();
    strcpy(address.sun_path, path);
    signal(SIGPIPE, SIG_IGN);                            /* a launcher that hangs up has its own words for it */

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        return fail(path);
    int sent = send_word(fd, seconds) || send_word(fd, ping ? "ping" : "exec");
    if (command != NULL && !sent)
        sent = send_word(fd, command);
    for (at++; command != NULL && !sent && at < argc; at++)
        sent = send_word(fd, argv[at]);
    if (sent || shutdown(fd, SHUT_WR))
        return fail("the launcher does not listen");

    size_t size = 0;
    for (ssize_t n; size < sizeof answer - 1; size += (size_t)n) {
        n = read(fd, answer + size, sizeof answer - 1 - size);
        if (n < 0)
            return fail("the launcher's answer");
        if (n == 0)
            break;
    }
    char *text = strchr(answer, '\n');
    if (text == NULL) {
        fprintf(stderr, "virt-probe: the launcher gave no answer\n");
        return 1;
    }
    fputs(text + 1, stdout);
    return atoi(answer);
}
