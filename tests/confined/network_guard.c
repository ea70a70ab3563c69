/* Sees every attempt of a process and its children to reach another machine, whichever language it is
 * written in: preloaded before the C library, it stands in for the functions that all of them call.
 *
 * Each attempt is a line in the file that NETWORK_GUARD_LOG names: verdict, function, address, command,
 * with tabs between. Loopback is let through ("loopback"); all else fails as on a machine without a
 * network ("refused"). Unix sockets are no network and pass unseen.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_COMMAND_BYTES = 300, MAX_LINE_BYTES = 1000 };

static void note(const char *verdict, const char *function, const char *address) {
    int saved_errno = errno;
    const char *path = getenv("NETWORK_GUARD_LOG");
    char command[MAX_COMMAND_BYTES] = "", line[MAX_LINE_BYTES];
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n_bytes = read(fd, command, sizeof command - 1);
        for (ssize_t i = 0; i < n_bytes; i++)
            if ((unsigned char)command[i] < ' ') command[i] = ' ';
        close(fd);
    }
    int length = snprintf(line, sizeof line, "%s\t%s\t%s\t%s\n", verdict, function, address, command);
    fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : dup(2);
    if (fd < 0 || write(fd, line, (size_t)length) != length) abort(); /* Never unseen. */
    close(fd);
    errno = saved_errno;
}

static int is_loopback_v4(const struct in_addr *address) {
    return (ntohl(address->s_addr) >> 24) == 127;
}

static int is_loopback_v6(const struct in6_addr *address) {
    return IN6_IS_ADDR_LOOPBACK(address) ||
           (IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr[12] == 127);
}

/* 1 when the call may go on. */
static int may_use(const char *function, const struct sockaddr *address) {
    char text[INET6_ADDRSTRLEN + 16] = "", host[INET6_ADDRSTRLEN] = "";
    int is_loopback;
    if (address == NULL) return 1;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        is_loopback = is_loopback_v4(&v4->sin_addr);
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(text, sizeof text, "%s:%d", host, ntohs(v4->sin_port));
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        is_loopback = is_loopback_v6(&v6->sin6_addr);
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(text, sizeof text, "[%s]:%d", host, ntohs(v6->sin6_port));
    } else {
        return 1;
    }
    note(is_loopback ? "loopback" : "refused", function, text);
    if (!is_loopback) errno = ENETUNREACH;
    return is_loopback;
}

/* 1 when the name needs nobody to be asked. */
static int may_look_up(const char *function, const char *name) {
    struct in_addr v4;
    struct in6_addr v6;
    if (name == NULL || inet_pton(AF_INET, name, &v4) == 1 || inet_pton(AF_INET6, name, &v6) == 1)
        return 1;
    int is_local = strcasecmp(name, "localhost") == 0;
    note(is_local ? "loopback" : "refused", function, name);
    return is_local;
}

#define REAL(function) ((__typeof__(&function))dlsym(RTLD_NEXT, #function))

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    return may_use("connect", address) ? REAL(connect)(fd, address, length) : -1;
}

int bind(int fd, const struct sockaddr *address, socklen_t length) {
    return may_use("bind", address) ? REAL(bind)(fd, address, length) : -1;
}

ssize_t sendto(int fd, const void *data, size_t n_bytes, int flags, const struct sockaddr *to,
               socklen_t length) {
    return may_use("sendto", to) ? REAL(sendto)(fd, data, n_bytes, flags, to, length) : -1;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    return may_use("sendmsg", message->msg_name) ? REAL(sendmsg)(fd, message, flags) : -1;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned n_messages, int flags) {
    for (unsigned i = 0; i < n_messages; i++)
        if (!may_use("sendmmsg", messages[i].msg_hdr.msg_name)) return -1;
    return REAL(sendmmsg)(fd, messages, n_messages, flags);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    return may_look_up("getaddrinfo", name) ? REAL(getaddrinfo)(name, service, hints, found)
                                            : EAI_FAIL;
}

struct hostent *gethostbyname(const char *name) {
    return may_look_up("gethostbyname", name) ? REAL(gethostbyname)(name) : NULL;
}

int gethostbyname_r(const char *name, struct hostent *result, char *buffer, size_t n_bytes,
                    struct hostent **found, int *error) {
    if (may_look_up("gethostbyname_r", name))
        return REAL(gethostbyname_r)(name, result, buffer, n_bytes, found, error);
    *found = NULL;
    *error = NO_RECOVERY;
    return 1;
}

int getnameinfo(const struct sockaddr *address, socklen_t length, char *host, socklen_t n_host,
                char *service, socklen_t n_service, int flags) {
    if (flags & NI_NUMERICHOST || may_use("getnameinfo", address))
        return REAL(getnameinfo)(address, length, host, n_host, service, n_service, flags);
    return EAI_FAIL;
}
