/* The parent of everything in a launcher's container: reaps, passes signals on, ends as its child ends.
 *
 *     launcher-init PROGRAM [ARGUMENT...]
 *
 * QEMU and what libvirt's probes leave behind become children of PID 1. Where PID 1 does not reap, libvirt waits 40 s for
 * each of them to go away. A process apart does it, so that no wait for "any child" takes the exit status of a child that
 * the launcher itself waits for. When it ends, the kernel ends all others of the container.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: launcher-init PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);          /* where it is not PID 1: tests, a shared pid namespace */

    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);

    pid_t child = fork();
    if (child < 0) {
        fprintf(stderr, "launcher-init: fork: %s\n", strerror(errno));
        return 1;
    }
    if (child == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        setenv("MALLOC_ARENA_MAX", "1", 0);             /* a heap per thread costs a launcher more than it gives */
        execvp(argv[1], argv + 1);
        fprintf(stderr, "launcher-init: %s: %s\n", argv[1], strerror(errno));
        _exit(127);
    }

    for (;;) {
        siginfo_t info;
        int number = sigwaitinfo(&all, &info);
        if (number < 0)
            continue;
        if (number != SIGCHLD) {
            kill(child, number);
            continue;
        }
        int status;
        pid_t ended;
        while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
            if (ended == child)
                return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
}
