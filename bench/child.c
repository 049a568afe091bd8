/* The supervised program of the benchmark: it says when it ran its first instruction, and does as told.
 *
 *   child stamp FILE         append "S pid ns", then wait; SIGUSR1: append "E pid ns" and exit 0
 *   child log FILE BYTES     append "S pid ns", wait for SIGUSR1, append "G pid ns", write BYTES of 100-byte
 *                            lines to stdout in 64 kB writes and one last marked line, append "D pid ns", wait
 *
 * Times are CLOCK_MONOTONIC in ns. Each stamp is taken before it is written, in one O_APPEND write, to a
 * regular file: nobody is woken by it, so the supervisor has the machine to itself in the interval that counts.
 * The write of the E stamp (some microseconds) is part of the measured restart.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE 100
#define BLOCK 65536

static int file = -1;

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void stamp(char kind, long long ns) {
    char text[64];
    int n = snprintf(text, sizeof text, "%c %d %lld\n", kind, (int)getpid(), ns);
    if (write(file, text, n) != n) _exit(99);
}

static void put(const char *data, size_t left) {
    while (left) {
        ssize_t n = write(1, data, left);
        if (n <= 0) _exit(98);
        data += n;
        left -= n;
    }
}

static void write_lines(long long bytes) {
    /* A block holds 655 whole lines and a part of the next: the stream goes on where the last block ended. */
    static char stream[BLOCK + LINE];
    for (size_t i = 0; i < sizeof stream; i++) stream[i] = i % LINE == LINE - 1 ? '\n' : 'a' + i % LINE % 26;
    for (long long done = 0; done < bytes;) {
        long long n = bytes - done < BLOCK ? bytes - done : BLOCK;
        put(stream + done % LINE, n);
        done += n;
    }
    put("bench-last-line\n", 16);
}

int main(int argc, char **argv) {
    long long first = now();
    int got;
    sigset_t asked;
    if (argc < 3) return 2;
    sigemptyset(&asked);
    sigaddset(&asked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &asked, NULL); /* before the stamp: whoever has read it may signal at once */
    file = open(argv[2], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return 97;
    stamp('S', first);
    sigwait(&asked, &got);
    if (argc > 3 && strcmp(argv[1], "log") == 0) {
        stamp('G', now());
        write_lines(atoll(argv[3]));
        stamp('D', now());
        for (;;) pause();
    }
    stamp('E', now());
    _exit(0);
}
