// The test suite's eyes in a guest: small servers and probes that busybox lacks. Static, so that it runs in any guest.
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(const char *what)
{
    fprintf(stderr, "witness: %s: %s\n", what, strerror(errno));
    return 1;
}

static void print_peer(const struct sockaddr_in6 *peer)
{
    char text[INET6_ADDRSTRLEN];

    if (IN6_IS_ADDR_V4MAPPED(&peer->sin6_addr))
        inet_ntop(AF_INET, &peer->sin6_addr.s6_addr[12], text, sizeof text);
    else
        inet_ntop(AF_INET6, &peer->sin6_addr, text, sizeof text);
    printf("peer %s port %d\n", text, ntohs(peer->sin6_port));
    fflush(stdout);
}

static void echo(int connection)
{
    char block[4096];
    ssize_t size;

    while ((size = read(connection, block, sizeof block)) > 0)
        for (ssize_t done = 0, step; done < size; done += step)
            if ((step = write(connection, block + done, size - done)) < 0)
                return;
}

// Sends every byte back until the peer ends; prints a line per connection. Speaks IPv4 and IPv6.
static int tcp_echo(int port)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)}, peer;
    int both = 0, again = 1, server = socket(AF_INET6, SOCK_STREAM, 0);

    setsockopt(server, IPPROTO_IPV6, IPV6_V6ONLY, &both, sizeof both);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &again, sizeof again);
    if (server < 0 || bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 64))
        return fail("tcp-echo");
    signal(SIGCHLD, SIG_IGN);       // children are not waited for
    for (;;) {
        socklen_t length = sizeof peer;
        int connection = accept(server, (struct sockaddr *)&peer, &length);

        if (connection < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            return fail("accept");
        }
        print_peer(&peer);
        if (fork() == 0) {
            close(server);
            echo(connection);
            _exit(0);
        }
        close(connection);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "tcp-echo") == 0 && atoi(argv[2]) > 0)
        return tcp_echo(atoi(argv[2]));
    fprintf(stderr, "usage: witness tcp-echo PORT\n");
    return 2;
}
